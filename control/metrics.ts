// The numbers of the control plane. Read when somebody scrapes; nothing is kept for them.
import { createMetrics, type Metrics } from '#base/metrics';
import type { Listener } from './listener.ts';
import type { Parts } from './parts.ts';

export interface ControlMetrics extends Metrics {
  answered(status: number): void;
  shipped(destination: string, count: number): void;
}

export function createControlMetrics(parts: Parts, listener: () => Listener, inTrouble: () => number): ControlMetrics {
  const metrics = createMetrics();
  const gauge = (name: string, help: string, read: () => number): void => {
    metrics.gauge({ name: `postern_control_${name}`, help, read });
  };
  const answers = metrics.counter({
    name: 'postern_control_requests_total',
    help: 'Requests answered, by HTTP status',
    labels: ['status'],
  });
  gauge('connections', 'Open connections', () => listener().counts.open);
  gauge('refused_connections', 'Connections turned away before HTTP since the start', () => listener().counts.refused);
  gauge('watchers', 'Proxies that listen for snapshots', () => parts.watchers.size);
  gauge('instances', 'Instances on record', () => [...parts.registry.all()].length);
  gauge('policy_revision', 'Revision of the policy in force', () => parts.resources.policy.revision);
  gauge('events_waiting', 'Events that the disk has not taken yet', () => parts.events.waiting);
  gauge('ship_troubled', 'Destinations that do not take the decisions handed on to them', inTrouble);
  const shipped = metrics.counter({
    name: 'postern_control_shipped_total',
    help: 'Decisions handed on, by destination',
    labels: ['destination'],
  });
  return {
    ...metrics,
    answered: (status) => void answers(String(status)).value++,
    shipped: (destination, count) => {
      shipped(destination).value += count;
    },
  };
}

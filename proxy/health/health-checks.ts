// The health checks of one data plane: what they share, and what is told of them.
import type { Clock } from '#base/clock';
import type { Log } from '#base/log';
import type { Metrics } from '#base/metrics';
import { type Checker, type CheckerOptions, createChecker } from './checker.ts';
import type { OpenPool } from './probe.ts';
import { createTurnstile } from './turnstile.ts';

export interface HealthChecks {
  createChecker(onChange: CheckerOptions['onChange']): Checker;
  readonly onHealth: (o: {
    readonly cluster: string;
    readonly address: string;
    readonly reason: string | undefined;
  }) => void;
}

/** Checks at a time, of all clusters together. */
const mostChecks = 64;

export function createHealthChecks(o: {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly random: () => number;
  readonly openPool: OpenPool;
}): HealthChecks {
  const { clock, log, random, openPool } = o;
  const turnstile = createTurnstile(mostChecks);
  const answers = o.metrics.counter({
    name: 'postern_health_checks_total',
    help: 'Health checks made by this proxy, by how they ended.',
    labels: ['outcome'],
  });
  const onAnswer = (reason: string | undefined): void => {
    answers(reason === undefined ? 'healthy' : 'failed').value++;
  };
  return {
    createChecker: (onChange) => createChecker({ clock, random, openPool, turnstile, onAnswer, onChange }),
    onHealth({ cluster, address, reason }) {
      if (reason === undefined) log.info('an endpoint is healthy again', { cluster, address });
      else log.warn('an endpoint is not healthy', { cluster, address, reason });
    },
  };
}

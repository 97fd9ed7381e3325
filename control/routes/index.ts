// Every route there is, one file for each resource.
import type { StatusReply } from '#wire';
import type { App } from '../app.ts';
import type { ControlMetrics } from '../metrics.ts';
import type { Parts } from '../parts.ts';
import type { RateLimiter } from '../rate.ts';
import { banRoutes } from './bans.ts';
import { bundleRoutes } from './bundle.ts';
import { caRoutes } from './ca.ts';
import { enrolmentRoutes } from './enrolment.ts';
import { healthRoutes } from './health.ts';
import { identityRoutes } from './identities.ts';
import { lookRoutes } from './look.ts';
import { recordRoutes } from './records.ts';
import { reportRoutes } from './report.ts';
import { resourceRoutes } from './resources.ts';
import { serviceRoutes } from './services.ts';
import { statusRoutes } from './status.ts';
import { tokenRoutes } from './tokens.ts';
import { watchRoutes } from './watch.ts';

export interface RoutesOptions {
  readonly parts: Parts;
  readonly metrics: ControlMetrics;
  readonly problems: () => readonly string[];
  readonly enrolRate: RateLimiter;
  readonly renewRate: RateLimiter;
  readonly newsRate: RateLimiter;
  readonly tokenUrl: () => string;
  readonly server: () => StatusReply['server'];
}

export function registerRoutes(app: App, options: RoutesOptions): void {
  const { parts, metrics, problems, enrolRate, renewRate, newsRate, tokenUrl, server } = options;
  const { authority, registry, resources, snapshots, watchers, rotation, records, events, tails, limits } = parts;
  const { taps, dumps } = parts;
  enrolmentRoutes(app, { authority, registry, enrolRate, renewRate });
  bundleRoutes(app, { authority });
  watchRoutes(app, { watchers, onOpened: (proxy) => taps.greet(proxy) });
  reportRoutes(app, { registry, events, newsRate, onAcknowledged: () => rotation.acknowledged() });
  recordRoutes(app, { records, events, tails, recordBytes: limits.recordBytes });
  lookRoutes(app, { taps, dumps, registry, events, trustDomain: authority.trustDomain, tapBytes: limits.tapBytes });
  tokenRoutes(app, { authority, store: parts.store, clock: parts.clock, url: tokenUrl });
  resourceRoutes(app, { resources, store: parts.store, events, applyBytes: limits.applyBytes });
  identityRoutes(app, { authority });
  banRoutes(app, { authority });
  caRoutes(app, { authority, onRotation: (what) => what === 'issuing' && watchers.askToRenew() });
  const seen = { registry, snapshots, watchers, witness: records.witness };
  statusRoutes(app, { parts: seen, server });
  serviceRoutes(app, { ...seen, authority, resources, records, clock: parts.clock });
  healthRoutes(app, { metrics, problems });
}

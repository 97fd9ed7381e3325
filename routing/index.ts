// Where traffic goes: what virtual services and clusters mean.
export type {
  Asked,
  CorsPlan,
  FaultPlan,
  Forward,
  HeaderEdits,
  HttpAction,
  Outcome,
  RateLimitPlan,
  Redirect,
  Respond,
  RetryPlan,
  Target,
  TunnelAction,
} from './action.ts';
export { type Hashable, hashOf } from './balance/hash.ts';
export type { BreakerBounds, ClusterSettings, Part } from './balance/settings.ts';
export type { Traffic } from './build.ts';
export { buildTraffic } from './build.ts';
export type { Endpoint } from './endpoint.ts';
export { routingErrors } from './errors.ts';
export { type ClusterState, createLiveCluster, type LiveCluster, type LiveClusterOptions } from './live-cluster.ts';
export { isIdempotent, usualRetries } from './retries.ts';
export type { RoutedCluster, Routes, RoutesOptions, VirtualHost } from './routes.ts';
export { compileRoutes } from './routes.ts';
export { hostOf } from './service-host.ts';

// The data plane: a sidecar beside each instance of a service.
export { sidecarErrors } from './agent/errors.ts';
export { proxyErrors } from './errors.ts';
export type { Sidecar, SidecarConfig, SidecarDeps } from './sidecar.ts';
export { startSidecar } from './sidecar.ts';

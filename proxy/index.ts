// The data plane: a sidecar beside each instance of a service.
export type { Sidecar, SidecarConfig, SidecarDeps } from './sidecar.ts';
export { startSidecar } from './sidecar.ts';

// The data plane: a sidecar beside each instance of a service, and gateways for those without one.
export type { Gateway } from './gateway.ts';
export { startGateway } from './gateway.ts';
export type { EdgePort, GatewayConfig, GatewayService, Group } from './gateway-config.ts';
export type { Sidecar, SidecarConfig, SidecarDeps } from './sidecar.ts';
export { startSidecar } from './sidecar.ts';

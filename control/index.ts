// The control plane: one server on one home.
export type { ControlLimits } from './limits.ts';
export type { Server, ServerConfig, ServerDependencies } from './server.ts';
export { startServer } from './server.ts';

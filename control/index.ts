// The control plane: one server on one home.
export { controlErrors } from './errors.ts';
export type { ControlLimits } from './limits.ts';
export { defaultLimits } from './limits.ts';
export type { Server, ServerConfig, ServerDependencies } from './server.ts';
export { startServer } from './server.ts';

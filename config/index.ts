// How processes are configured. Resource files are read through `#config/resources`, which loads the YAML parser: sidecars never do.
export type { Environment } from './environment.ts';
export { readEnvironment } from './environment.ts';
export { configErrors } from './errors.ts';
export { resolveHome } from './home.ts';

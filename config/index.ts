// How processes are configured. Resource files are read through `#config/resources`, which loads the YAML parser: sidecars never do.
export type { Environment } from './environment.ts';
export { readEnvironment } from './environment.ts';
export { gatewayFlags, gatewaySettings } from './gateway-settings.ts';
export { resolveHome } from './home.ts';
export { type ServerSettings, serverConfig, serverSettings } from './server.ts';
export type { SettingFacts, Settings, SettingsFile, SettingsInput } from './settings.ts';
export { factsOf } from './settings.ts';
export { readSettingsFile } from './settings-file.ts';
export { type SidecarSettings, sidecarConfig, sidecarSettings } from './sidecar.ts';

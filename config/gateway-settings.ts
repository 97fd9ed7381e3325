// The settings of a gateway that are flags; everything else is in its file, which is read again while it runs. Loaded for help too: nothing large here.
import { s } from '#base/schema';
import { loggingSettings } from './logging.ts';
import { optionalSetting, readSettings, type SettingsInput, type ValuesOf } from './settings.ts';

export const gatewaySettings = {
  token: optionalSetting(
    s.array(s.string({ minLength: 1, maxLength: 65_536 }), {
      maxItems: 256,
      description: 'the join token of one of its services, which says by itself of which; needed once; may be repeated',
    }),
    { value: 'TOKEN', secret: true },
  ),
  ...loggingSettings,
} as const;
export type GatewayFlags = ValuesOf<typeof gatewaySettings>;

/** Throws `CONFIG_INVALID` with every problem. */
export function gatewayFlags(input: SettingsInput): GatewayFlags {
  return readSettings({ process: 'the gateway', settings: gatewaySettings, contradictions: [], ...input });
}

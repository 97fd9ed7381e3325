// The settings of the control plane.
import { s } from '#base/schema';
import { hostPort, isAnyPort } from './addresses.ts';
import { loggingSettings } from './logging.ts';
import { optionalSetting, readSettings, type SettingsInput, setting, type ValuesOf } from './settings.ts';

export const serverSettings = {
  listen: setting(
    hostPort({ default: '127.0.0.1:8443', description: 'where the API listens; port 0 is any free one' }),
    {
      value: 'HOST:PORT',
    },
  ),
  advertise: optionalSetting(
    hostPort({ description: 'where sidecars reach it, when that is not the address it listens on' }),
    {
      value: 'HOST:PORT',
    },
  ),
  passphraseFile: optionalSetting(
    s.string({ maxLength: 4_096, description: 'a file with the passphrase of the root key' }),
    {
      value: 'FILE',
    },
  ),
  passphraseFd: optionalSetting(
    s.integer({ minimum: 3, maximum: 1_023, description: 'an open file descriptor to read that passphrase from' }),
    { value: 'NUMBER' },
  ),
  ...loggingSettings,
} as const;

export type ServerSettings = ValuesOf<typeof serverSettings>;

/** Throws `CONFIG_INVALID` with every problem. */
export function serverConfig(input: SettingsInput): ServerSettings {
  const contradictions = [advertisesARealPort, hasOnePassphrase];
  return readSettings({ process: 'the server', settings: serverSettings, contradictions, ...input });
}

function advertisesARealPort({ advertise }: ServerSettings): string | undefined {
  return advertise !== undefined && isAnyPort(advertise) ? '--advertise must name a port, not 0' : undefined;
}

function hasOnePassphrase({ passphraseFile, passphraseFd }: ServerSettings): string | undefined {
  return passphraseFile !== undefined && passphraseFd !== undefined
    ? '--passphrase-file and --passphrase-fd say the same thing twice: give one of them'
    : undefined;
}

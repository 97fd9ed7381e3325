// The settings of the control plane.
import { isAbsolute } from 'node:path';
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
  ship: setting(
    s.record(s.string({ minLength: 1, maxLength: 2_048 }), {
      maxProperties: 16,
      description:
        'where every decision is handed on to, under a name of your own: an OTLP/HTTP endpoint, or file: and an absolute path; may be repeated',
    }),
    { value: 'NAME=WHERE' },
  ),
  shipFormat: setting(
    s.record(s.enum(['ocsf', 'ecs', 'otlp-json', 'csv', 'jsonl']), {
      description: 'how decisions are written to a file that is shipped to; jsonl unless said',
    }),
    { value: 'NAME=FORMAT' },
  ),
  shipHeader: setting(
    s.record(s.string({ minLength: 1, maxLength: 8_192 }), {
      description:
        'a header for an endpoint that is shipped to, such as authorization: Bearer ...; best in the settings file',
    }),
    { value: 'NAME=HEADER: VALUE', secret: true },
  ),
  ...loggingSettings,
} as const;

export type ServerSettings = ValuesOf<typeof serverSettings>;

/** Throws `CONFIG_INVALID` with every problem. */
export function serverConfig(input: SettingsInput): ServerSettings {
  const contradictions = [advertisesARealPort, hasOnePassphrase, shipsSomewhere];
  return readSettings({ process: 'the server', settings: serverSettings, contradictions, ...input });
}

function advertisesARealPort({ advertise }: ServerSettings): string | undefined {
  return advertise !== undefined && isAnyPort(advertise) ? '--advertise must name a port, not 0' : undefined;
}

function shipsSomewhere({ ship = {}, shipFormat = {}, shipHeader = {} }: ServerSettings): string | undefined {
  for (const [name, where] of Object.entries(ship)) {
    if (!/^[A-Za-z0-9][A-Za-z0-9.-]{0,63}$/.test(name)) return `--ship ${name}: a name has letters, digits, . and -`;
    if (where.startsWith('file:') ? !isAbsolute(where.slice(5)) : !(/^https?:\/\//.test(where) && URL.canParse(where)))
      return `--ship ${name} must be an http or https URL, or file: and an absolute path`;
  }
  for (const [flag, named] of Object.entries({ 'ship-format': shipFormat, 'ship-header': shipHeader })) {
    const unknown = Object.keys(named).find((name) => !Object.hasOwn(ship, name));
    if (unknown !== undefined) return `--${flag} ${unknown}: nothing is shipped under that name`;
  }
  const broken = Object.entries(shipHeader).find(([, text]) => !/^[A-Za-z0-9!#$%&'*+.^_`|~-]+: ?[\t -~]+$/.test(text));
  return broken && `--ship-header ${broken[0]} is not HEADER: VALUE`;
}

function hasOnePassphrase({ passphraseFile, passphraseFd }: ServerSettings): string | undefined {
  return passphraseFile !== undefined && passphraseFd !== undefined
    ? '--passphrase-file and --passphrase-fd say the same thing twice: give one of them'
    : undefined;
}

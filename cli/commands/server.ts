// `postern server`: the control plane on this home.
import type { Command } from 'commander';
import { type ServerSettings, serverConfig, serverSettings } from '#config';
import type { CliContext } from '../context.ts';
import { examples } from '../help.ts';
import {
  addSettings,
  type Flags,
  flagsOf,
  processLog,
  readPassphrase,
  runUntilStopped,
  settingsInput,
} from '../process.ts';

export function register(program: Command, context: CliContext): void {
  const command = addSettings(
    program.command('server').description('run the control plane: CA, registry, policies, decisions'),
    serverSettings,
  ).action((options: Flags) => runServer(context, flagsOf(options, serverSettings)));
  examples(command, 'postern server', 'postern server --listen 0.0.0.0:8443 --advertise mesh.example.org:8443');
}

/** Each destination with its format and its header. */
function destinationsOf({ ship = {}, shipFormat = {}, shipHeader = {} }: ServerSettings) {
  return Object.entries(ship).map(([name, to]) => {
    const [, header, value] = /^([^:]+): ?(.*)$/.exec(shipHeader[name] ?? '') ?? [];
    const headers = header !== undefined && value !== undefined ? { [header]: value } : {};
    return { name, to, format: shipFormat[name] ?? 'jsonl', headers };
  });
}

async function runServer(context: CliContext, flags: Flags): Promise<void> {
  const { output, clock } = context;
  const home = context.home();
  const config = serverConfig(await settingsInput(context, flags));
  const passphrase = readPassphrase({ file: config.passphraseFile, fd: config.passphraseFd });
  const log = processLog(context, config);
  const { startServer } = await import('#control');
  await runUntilStopped(context, {
    start: () =>
      startServer(
        {
          home,
          listen: config.listen,
          ...(config.advertise === undefined ? {} : { advertise: config.advertise }),
          ...(passphrase === undefined ? {} : { passphrase }),
          ship: destinationsOf(config),
        },
        { clock, log },
      ),
    ready: ({ url }) => {
      output.item({ ready: true, pid: process.pid, home, url }, `listening   ${url}`);
      output.next('postern token create web', 'lets one instance of the service web join');
    },
  });
}

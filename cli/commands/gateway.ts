// `postern gateway`: several services in one process, at the edge of the mesh or in front of instances without sidecars, as its file says; the file is
// read again when it changes.
import type { Command } from 'commander';
import type { Problem } from '#base/error';
import type { Log } from '#base/log';
import { giveBackMemory } from '#base/memory';
import { gatewayFlags, gatewaySettings } from '#config';
import type { LoadedGateway, watchFiles as WatchFiles } from '#config/gateway';
import type { Gateway } from '#proxy';
import type { CliContext } from '../context.ts';
import { fail } from '../errors.ts';
import { examples } from '../help.ts';
import { addFlags, type Flags, flagsOf, processLog, runUntilStopped } from '../process.ts';
import { serviceOfToken } from '../token-service.ts';

export function register(program: Command, context: CliContext): void {
  const command = addFlags(
    program.command('gateway').description('run the edge of the mesh, or the proxy of instances that have no sidecar'),
    gatewaySettings,
  )
    .option('--config <FILE>', 'what it serves and where, YAML or JSON (POSTERN_CONFIG); read again when it changes')
    .action((options: Flags) => runGateway(context, flagsOf(options, gatewaySettings)));
  examples(
    command,
    'postern gateway --config edge.yaml --token "$TOKEN"',
    'postern gateway --config edge.yaml   # restarted: no token needed',
  );
}

async function runGateway(context: CliContext, flags: Flags): Promise<void> {
  const { output, clock, env } = context;
  const home = context.home();
  const settings = gatewayFlags({ flags, env });
  const file = (flags.config as string | undefined) ?? env.POSTERN_CONFIG;
  if (file === undefined)
    throw fail('CLI_USAGE', { problem: 'gateway needs --config FILE', fix: 'see docs/gateway.md for what is in it' });
  const tokens = new Map((settings.token ?? []).map((token) => [serviceOfToken(token), token.trim()]));
  const { assertUsable, loadGateway, watchFiles } = await import('#config/gateway');
  const read = (): LoadedGateway => loadGateway(file, { now: clock.now(), tokens });
  const first = read();
  const config = assertUsable(first);
  const log = processLog(context, settings);
  tell(log, first.warnings);
  const { startGateway } = await import('#proxy');
  await runUntilStopped(context, {
    start: async () => {
      const gateway = await startGateway(config, { home, clock, log });
      const following = followFile({ gateway, first, read, log, context, watchFiles });
      const close = (): Promise<void> => {
        following.close();
        return gateway.close();
      };
      return { gateway, close };
    },
    ready: ({ gateway: { admin, metrics, members } }) => {
      giveBackMemory();
      const services = members.map(({ service, instance, addresses }) => ({ service, instance, ...addresses }));
      output.item(
        { ready: true, pid: process.pid, home, config: file, admin, metrics, services },
        describe({ admin, metrics, members }),
      );
      output.next('postern status', 'shows its services beside the sidecars');
    },
  });
}

interface Following {
  readonly gateway: Gateway;
  readonly first: LoadedGateway;
  readonly read: () => LoadedGateway;
  readonly log: Log;
  readonly context: CliContext;
  readonly watchFiles: typeof WatchFiles;
}

/** Puts in force what the file says whenever it, or a file that it names, has changed, and on SIGHUP. */
function followFile({ gateway, first, read, log, context, watchFiles }: Following): { close(): void } {
  const reload = async (why: string): Promise<void> => {
    const { config, problems, warnings, files } = read();
    watch.of(files);
    tell(log, warnings);
    if (!config) {
      log.error('the configuration is refused; the one before it stays in force', { why, problems: problems.length });
      for (const problem of problems) log.error(textOf(problem), hintOf(problem));
      return;
    }
    try {
      const late = await gateway.change(config);
      log.info('the configuration is in force', { why });
      for (const what of late) log.warn(`${what} takes effect with the next start`);
    } catch (thrown) {
      const { code, message, hint } = thrown as { code?: string; message?: string; hint?: string };
      log.error('the configuration cannot be put in force; the one before it stays', {
        why,
        reason: message,
        ...(code === undefined ? {} : { code }),
        ...(hint === undefined ? {} : { hint }),
      });
    }
  };
  const watch = watchFiles({ clock: context.clock, changed: () => void reload('the file has changed') });
  watch.of(first.files);
  context.onReload(() => void reload('SIGHUP'));
  return watch;
}

function tell(log: Log, warnings: readonly Problem[]): void {
  for (const problem of warnings) log.warn(textOf(problem), hintOf(problem));
}

function textOf({ file, line, column, message }: Problem): string {
  return line === undefined ? `${file}: ${message}` : `${file}:${line}:${column}: ${message}`;
}

function hintOf({ hint }: Problem): { hint: string } | undefined {
  return hint === undefined ? undefined : { hint };
}

/** One line for each listener. */
function describe({ admin, metrics, members }: Pick<Gateway, 'admin' | 'metrics' | 'members'>): string {
  const rows = members.flatMap(({ service, addresses: { inbound, outbound, upstreams = {}, listeners = [] } }) => [
    service,
    ...(inbound === undefined ? [] : [`  inbound    ${inbound}   mTLS from peers`]),
    ...(outbound === undefined
      ? []
      : [`  outbound   ${outbound}   calls of its instances: HTTP_PROXY=http://${outbound}`]),
    ...Object.entries(upstreams).map(([name, address]) => `  upstream   ${address}   ${name}`),
    ...listeners.map((address) => `  listener   ${address}   from outside`),
  ]);
  return [...rows, `admin        ${admin}   read-only`, `metrics      ${metrics}   /metrics /livez /readyz`].join('\n');
}

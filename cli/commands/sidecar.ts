// `postern sidecar`: one proxy beside one instance. Imports nothing that a sidecar does not run: commander only as a type.
import type { Command } from 'commander';
import type { MaskableField } from '#audit';
import { parseDuration } from '#base/duration';
import { readPrivateFile } from '#base/files';
import { giveBackMemory } from '#base/memory';
import { sidecarConfig, sidecarSettings } from '#config';
import type { Sidecar } from '#proxy';
import type { CliContext, ContextControl } from '../context.ts';
import { examples } from '../help.ts';
import {
  addSettings,
  type Flags,
  flagsOf,
  parseQuickly,
  processLog,
  runUntilStopped,
  settingsInput,
} from '../process.ts';

export function register(program: Command, context: CliContext): void {
  const command = addSettings(
    program.command('sidecar').description('run the proxy beside one instance of a service'),
    sidecarSettings,
  ).action((options: Flags) => runSidecar(context, flagsOf(options, sidecarSettings)));
  examples(
    command,
    'postern sidecar --token "$TOKEN" --app 127.0.0.1:8080',
    'postern sidecar --app 127.0.0.1:8080 --upstream payments=127.0.0.1:9101   # restarted: no token needed',
    'postern sidecar --token-file /run/secrets/join --home /var/lib/postern --inbound 0.0.0.0:15008 --advertise 10.0.0.7:15008',
  );
}

/** Runs a well-formed `postern sidecar ...` without commander; false when the words are for commander to judge. */
export async function runQuickly(
  words: readonly string[],
  { context, configure }: Pick<ContextControl, 'context' | 'configure'>,
): Promise<boolean> {
  const parsed = parseQuickly(words, 'sidecar', sidecarSettings);
  if (!parsed) return false;
  await configure(parsed.options);
  await runSidecar(context, parsed.flags);
  return true;
}

async function runSidecar(context: CliContext, flags: Flags): Promise<void> {
  const { output, clock } = context;
  const home = context.home();
  const config = sidecarConfig(await settingsInput(context, flags));
  const token =
    config.token ?? (config.tokenFile === undefined ? undefined : readPrivateFile(config.tokenFile).toString().trim());
  const log = processLog(context, config);
  const { startSidecar } = await import('#proxy');
  const settings = {
    home,
    ...(token === undefined ? {} : { token }),
    app: config.app,
    inbound: config.inbound,
    ...(config.advertise === undefined ? {} : { advertise: config.advertise }),
    outbound: config.outbound,
    upstreams: config.upstreams ?? {},
    admin: config.admin,
    unsafeAdminNonLoopback: config.unsafeAdminNonLoopback,
    metrics: config.metrics,
    labels: config.labels ?? {},
    ...(config.zone === undefined ? {} : { zone: config.zone }),
    ...(config.weight === undefined ? {} : { weight: config.weight }),
    limits: config.limits ?? {},
    workers: config.workers,
    ...(config.dns === undefined ? {} : { nameServers: config.dns.split(',') }),
    // The schema has refused whatever is no duration.
    drainMs: parseDuration(config.drain) as number,
    audit: {
      mode: config.auditMode,
      maskable: config.auditMaskable.split(',') as MaskableField[],
      maxBytes: config.auditMaxMegabytes * 2 ** 20,
      maxAgeMs: parseDuration(config.auditMaxAge) as number,
    },
  };
  await runUntilStopped(context, {
    start: () => startSidecar(settings, { clock, log }),
    ready: ({ addresses, service, instance }) => {
      giveBackMemory();
      output.item(
        { ready: true, pid: process.pid, home, service, instance, app: config.app, ...addresses },
        describe(addresses, config.app),
      );
      output.next(`curl -x http://${addresses.outbound} http://SERVICE/`, 'as the application would call');
    },
  });
}

/** One line for each listener. */
function describe({ inbound, outbound, admin, metrics, upstreams }: Sidecar['addresses'], app: string): string {
  return [
    `inbound    ${inbound}   mTLS from peers, to ${app}`,
    `outbound   ${outbound}   calls of the application: HTTP_PROXY=http://${outbound}`,
    ...Object.entries(upstreams).map(([name, address]) => `upstream   ${address}   ${name}`),
    `admin      ${admin}   read-only`,
    `metrics    ${metrics}   /metrics /livez /readyz`,
  ].join('\n');
}

// `postern status`: each proxy: does it hold what it must, for how long is its identity good, how busy is it.
import type { Command } from 'commander';
import type { ProxyStatus, StatusReply } from '#wire';
import type { CliContext } from '../context.ts';
import { examples } from '../help.ts';
import { shortId } from '../names.ts';
import type { Tone } from '../paint.ts';
import type { Table } from '../table.ts';
import { ago, left } from '../when.ts';

export function register(program: Command, context: CliContext): void {
  const command = program
    .command('status')
    .description('show every proxy: in sync or not, revision, certificate, connections')
    .action(() => runStatus(context));
  examples(command, 'postern status', 'postern status -o json');
}

async function runStatus(context: CliContext): Promise<void> {
  const { output, clock } = context;
  const reply = await context.withApi((api) => api.call<StatusReply>({ method: 'GET', path: '/v1/status' }));
  output.say(
    `${reply.server.trustDomain}, policies at revision ${reply.server.revision}, server up ${ago(reply.server.startedAt, clock.now()).replace(' ago', '')}`,
  );
  output.data(reply, statusTable(reply, clock.now()));
  for (const { instance, refusal, wanted, log } of reply.proxies) {
    if (refusal) output.warn(`${instance} refused revision ${wanted}: ${refusal}`);
    if (log?.alarm) output.warn(`the decision log of ${instance} is not what it was (${log.alarm}): ${log.reason}`);
  }
}

const tones: Readonly<Record<ProxyStatus['sync'], Tone>> = {
  synced: 'good',
  stale: 'warn',
  refused: 'bad',
  gone: 'dim',
};

/** Sorted by service and instance, so that two looks can be compared. */
function statusTable({ proxies, server: { trustDomain } }: StatusReply, now: number): Table {
  const sorted = [...proxies].sort((a, b) => (a.service + a.instance < b.service + b.instance ? -1 : 1));
  return {
    columns: ['SERVICE', 'INSTANCE', 'SYNC', 'REVISION', 'CERTIFICATE', 'IN', 'OUT', 'ADDRESS', 'SEEN', 'VERSION'],
    rows: sorted.map((proxy) => [
      shortId(proxy.service, trustDomain),
      proxy.instance,
      { text: proxy.sync, tone: tones[proxy.sync] },
      proxy.revision === proxy.wanted ? proxy.revision : `${proxy.revision} of ${proxy.wanted}`,
      left({ notAfter: proxy.notAfter, now }),
      proxy.connections.inbound,
      proxy.connections.outbound,
      proxy.advertise,
      ago(proxy.lastReportAt, now),
      proxy.version,
    ]),
    empty: 'no proxies yet: postern token create SERVICE lets one join',
  };
}

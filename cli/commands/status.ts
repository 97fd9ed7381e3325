// `postern status`: each proxy: does it hold what it must, for how long is its identity good, how busy is it. Exit 3 when something is not well.
import { setTimeout as delay } from 'node:timers/promises';
import { type Command, InvalidArgumentError } from 'commander';
import { parseDuration } from '#base/duration';
import type { StatusReply } from '#wire';
import type { Api, CliContext } from '../context.ts';
import { fail } from '../errors.ts';
import { exitCodes } from '../exit-codes.ts';
import { examples } from '../help.ts';
import { fullId, shortId } from '../names.ts';
import { proxyColumns, proxyRow, troublesOf } from '../proxy-view.ts';
import type { Table } from '../table.ts';
import { ago } from '../when.ts';

interface StatusOptions {
  readonly watch?: boolean;
  readonly wait?: number;
}

const watchMs = 2_000;
const waitMs = 250;

export function register(program: Command, context: CliContext): void {
  const command = program
    .command('status')
    .description('show every proxy: in sync or not, revision, certificate, connections; exit 3 when one is not well')
    .argument('[SERVICE]', 'only the proxies of this service')
    .option('--watch', 'again every two seconds, until Ctrl-C')
    .option('--wait <TIME>', 'wait until all is well, at most so long, such as 30s', parseWait)
    .action((service: string | undefined, options: StatusOptions) => runStatus(context, service, options));
  examples(
    command,
    'postern status',
    'postern status payments -o wide',
    'postern apply -f mesh/ && postern status --wait 30s   # for scripts: exit 3 when it is not in force everywhere by then',
    'postern status --watch',
  );
}

async function runStatus(
  context: CliContext,
  service: string | undefined,
  { watch = false, wait }: StatusOptions,
): Promise<void> {
  const { clock } = context;
  await context.withApi(async (api) => {
    if (watch) return watchStatus(context, api, service);
    const end = clock.monotonic() + (wait ?? 0);
    let reply = await readStatus(api, service);
    while (isTroubled(reply, clock.now()) && clock.monotonic() < end) {
      await delay(waitMs);
      reply = await readStatus(api, service);
    }
    show(context, reply);
  });
}

async function watchStatus(context: CliContext, api: Api, service: string | undefined): Promise<void> {
  const stop = context.stopSignal();
  while (!stop.aborted) {
    const reply = await readStatus(api, service);
    context.output.frame(reply, statusTable(reply, context));
    await delay(watchMs, undefined, { signal: stop }).catch(() => undefined);
  }
}

/** Throws `CLI_NOT_FOUND` when no proxy is of this service. */
async function readStatus(api: Api, service: string | undefined): Promise<StatusReply> {
  const reply = await api.call<StatusReply>({ method: 'GET', path: '/v1/status' });
  if (service === undefined) return reply;
  const id = fullId(service, api.trustDomain);
  const proxies = reply.proxies.filter((proxy) => proxy.service === id || proxy.instance === service);
  if (proxies.length > 0) return { ...reply, proxies };
  const { suggest } = await import('#base/suggest');
  const near = suggest(
    service,
    reply.proxies.map((proxy) => shortId(proxy.service, api.trustDomain)),
  );
  throw fail('CLI_NOT_FOUND', {
    what: 'proxy of',
    name: service,
    fix: near ? `did you mean ${near}?` : 'see: postern status',
  });
}

function show(context: CliContext, reply: StatusReply): void {
  const { output, clock } = context;
  const { trustDomain, revision, startedAt } = reply.server;
  const up = ago(startedAt, clock.now()).replace(' ago', '');
  output.say(`${trustDomain}, policies at revision ${revision}, server up ${up}`);
  output.data(reply, statusTable(reply, context));
  for (const proxy of reply.proxies) for (const trouble of troublesOf(proxy, clock.now())) output.warn(trouble);
  if (isTroubled(reply, clock.now())) context.exitWith(exitCodes.denied);
}

function isTroubled({ proxies }: StatusReply, now: number): boolean {
  return proxies.some((proxy) => troublesOf(proxy, now).length > 0);
}

/** Sorted by service and instance, so that two looks can be compared. */
function statusTable({ proxies, server: { trustDomain } }: StatusReply, { output, clock }: CliContext): Table {
  const sorted = [...proxies].sort((a, b) => (a.service + a.instance < b.service + b.instance ? -1 : 1));
  const columns = proxyColumns('status', output.wide);
  const now = clock.now();
  return {
    columns: ['SERVICE', ...columns],
    rows: sorted.map((proxy) => [shortId(proxy.service, trustDomain), ...proxyRow(proxy, columns, now)]),
    empty: 'no proxies yet: postern token create SERVICE lets one join',
  };
}

function parseWait(text: string): number {
  const ms = parseDuration(text);
  if (ms !== undefined) return ms;
  throw new InvalidArgumentError('It must be a time such as 30s.');
}

// `postern tap`: exchanges as they end, at the proxies that were chosen, until so many were shown, so long has passed or Ctrl-C. Who looks is on record.
import { type Command, InvalidArgumentError, Option } from 'commander';
import { parseDuration } from '#base/duration';
import { longestTapMs, mostTapped, type TapFilter, type TapLine, wireVersion } from '#wire';
import type { CliContext } from '../context.ts';
import { fail } from '../errors.ts';
import { examples } from '../help.ts';
import { fullId } from '../names.ts';
import { readMethod, readPath } from '../policy-request.ts';
import { exchangeLine } from '../tap-view.ts';

interface TapOptions {
  readonly instance?: string;
  readonly from?: string;
  readonly to?: string;
  readonly path?: string;
  readonly method: readonly string[];
  readonly status?: string;
  readonly decision?: 'allow' | 'deny' | 'error';
  readonly hop?: 'inbound' | 'outbound';
  readonly max: number;
  readonly for: number;
}

export function register(program: Command, context: CliContext): void {
  const command = program
    .command('tap')
    .description('show exchanges of running proxies as they end, live; bounded, and on record')
    .argument('[SERVICE]', 'only at its proxies; at all of them when absent')
    .option('--instance <NAME>', 'only at this proxy')
    .option('--from <SERVICE>', 'who calls: a service, a SPIFFE ID, or NAME/** for all below it')
    .option('--to <SERVICE>', 'who is called, the same way')
    .option('--path <TEMPLATE>', 'the path: {id} or * is one segment, ** the rest')
    .option('--method <METHOD>', 'such as GET; repeatable', (one: string, all: readonly string[]) => [...all, one], [])
    .option('--status <STATUS>', 'a status such as 503, or a class such as 5xx', parseStatus)
    .addOption(new Option('--decision <DECISION>', 'what was decided').choices(['allow', 'deny', 'error']))
    .addOption(new Option('--hop <HOP>', 'which side').choices(['inbound', 'outbound']))
    .option('--max <N>', `ends after so many (at most ${mostTapped})`, parseMax, 1_000)
    .option('--for <TIME>', 'ends after so long (at most 10m)', parseFor, 300_000)
    .action((service: string | undefined, options: TapOptions) => runTap(context, service, options));
  command.options.find(({ long }) => long === '--for')!.default(300_000, '5m');
  examples(
    command,
    'postern tap payments',
    'postern tap payments --status 5xx --for 30s',
    'postern tap --from checkout --to payments --path "/charges/{id}" -o wide',
    'postern tap --decision deny --max 1 -o json   # the next refusal, whole',
  );
}

async function runTap(context: CliContext, service: string | undefined, options: TapOptions): Promise<void> {
  const { output } = context;
  if (service !== undefined && options.instance !== undefined)
    throw fail('CLI_USAGE', { problem: 'both a service and --instance are given', fix: 'name one of them' });
  const proxies = options.instance ?? service;
  const methods = options.method.map(readMethod);
  const path = options.path === undefined ? undefined : await readPath(options.path);
  await context.withApi(async (api) => {
    const filter: TapFilter = {
      ...(options.from === undefined ? {} : { from: fullId(options.from, api.trustDomain) }),
      ...(options.to === undefined ? {} : { to: fullId(options.to, api.trustDomain) }),
      ...(path === undefined ? {} : { path }),
      ...(methods.length === 0 ? {} : { methods }),
      ...(options.status === undefined ? {} : { status: options.status }),
      ...(options.decision === undefined ? {} : { decision: options.decision }),
      ...(options.hop === undefined ? {} : { hop: options.hop }),
    };
    const bounds = { limit: options.max, forMs: options.for };
    const body = { version: wireVersion, ...(proxies === undefined ? {} : { proxies }), filter, ...bounds };
    const lines = api.stream({ method: 'POST', path: '/v1/tap', body, signal: context.stopSignal() });
    let [shown, dropped] = [0, 0];
    for await (const line of lines as AsyncIterable<TapLine>) {
      if (line.type === 'begin') announce(context, line.proxies, proxies);
      else if (line.type === 'exchange') {
        shown++;
        output.item(line.record, exchangeLine(line.record, { output, trustDomain: api.trustDomain }));
      } else if (line.type === 'dropped') {
        dropped += line.count;
        output.warn(`${line.count} more at ${line.instance} came too fast to be shown`);
      } else if (line.type === 'end') output.say(`ended: ${endings[line.why]}`);
    }
    output.say(`${shown} shown${dropped > 0 ? `, ${dropped} not: narrow the filter to see all of them` : ''}`);
    if (shown > 0) output.next('postern audit query --id ID -o json', 'what is on record of one of them');
  });
}

const endings = {
  limit: 'as many were shown as --max allows',
  time: 'the time of --for has passed',
  server: 'the server is stopping',
} as const;

function announce({ output }: CliContext, count: number, proxies: string | undefined): void {
  if (count === 0) output.warn(`no proxy${proxies ? ` of ${proxies}` : ''} is connected now: waiting for one`);
  else output.say(`looking at ${count} ${count === 1 ? 'proxy' : 'proxies'}; Ctrl-C ends`);
}

function parseStatus(text: string): string {
  if (/^[1-9](xx|[0-9]{2})$/.test(text)) return text;
  throw new InvalidArgumentError('It must be a status such as 503, or a class such as 5xx.');
}

function parseMax(text: string): number {
  const count = Number(text);
  if (/^[0-9]+$/.test(text) && count >= 1 && count <= mostTapped) return count;
  throw new InvalidArgumentError(`It must be 1 to ${mostTapped}.`);
}

function parseFor(text: string): number {
  const ms = parseDuration(text);
  if (ms !== undefined && ms >= 100 && ms <= longestTapMs) return ms;
  throw new InvalidArgumentError('It must be a time such as 30s, at most 10m.');
}

// `postern audit export` and `ship`: decisions for other systems, once or for ever. They read what the control plane keeps, in its order.
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import type { Deliver, ExportFormat } from '#audit';
import { makePrivateFolder } from '#base/files';
import type { RecordQuery, RecordReply } from '#wire';
import type { Api, CliContext } from '../context.ts';
import { fail } from '../errors.ts';
import { examples } from '../help.ts';

const formats = ['ocsf', 'ecs', 'otlp-json', 'csv', 'jsonl'] as const;
const pageSize = 1_000;

interface ShipOptions {
  readonly to: string;
  readonly format: ExportFormat;
  readonly header?: Readonly<Record<string, string>>;
  readonly cursor?: string;
  readonly once?: boolean;
}

/** `queryOf`: the filters of `audit query`, which `addFilters` adds. */
export function registerExports<O extends object>(
  audit: Command,
  context: CliContext,
  filters: {
    readonly add: (command: Command) => Command;
    readonly queryOf: (options: O, api: Api) => RecordQuery;
  },
): void {
  const one = filters
    .add(audit.command('export').description('print decisions in the format of another system, the oldest first'))
    .addOption(new Option('--format <FORMAT>', 'which').choices(formats).default('jsonl'))
    .action((options: O & { format: ExportFormat }) =>
      exportRecords(
        context,
        options.format,
        ({ format: _, ...rest }, api) => filters.queryOf(rest as unknown as O, api),
        options,
      ),
    );
  examples(
    one,
    'postern audit export --format ocsf --since 24h > decisions.jsonl',
    'postern audit export --format csv --decision deny',
  );
  const ship = audit
    .command('ship')
    .description('send every decision to another system as they come, each until it is taken')
    .requiredOption('--to <WHERE>', 'an OTLP/HTTP endpoint (https://collector:4318), file:PATH, or stdout')
    .addOption(new Option('--format <FORMAT>', 'for files and stdout').choices(formats).default('jsonl'))
    .option('--header <NAME=VALUE>', 'a header for the endpoint; may be repeated', addPair)
    .option('--cursor <FILE>', 'where it is kept how far it is (default: in the home, one for each destination)')
    .option('--once', 'end when there is nothing more, rather than wait')
    .action((options: ShipOptions) => shipRecords(context, options));
  examples(
    ship,
    'postern audit ship --to https://collector.internal:4318',
    'postern audit ship --to file:/var/log/decisions.jsonl --format ecs',
  );
}

async function exportRecords<O extends { format: ExportFormat }>(
  context: CliContext,
  format: ExportFormat,
  queryOf: (options: O, api: Api) => RecordQuery,
  options: O,
): Promise<void> {
  const { output } = context;
  const { formatRecords, headOf } = await import('#audit');
  await context.withApi(async (api) => {
    const query = queryOf(options, api);
    const stop = context.stopSignal();
    output.raw(headOf(format));
    for (let after = 0; !stop.aborted; ) {
      const reply = await fetchPage(api, { ...query, after, limit: pageSize });
      output.raw(formatRecords(format, reply.records));
      if (!reply.more) return;
      after = reply.next ?? after;
    }
  });
}

async function shipRecords(context: CliContext, options: ShipOptions): Promise<void> {
  const { output } = context;
  const { shipRecords: ship } = await import('#audit');
  const deliver = await deliverTo(context, options);
  const folder = join(context.home(), 'ship');
  makePrivateFolder(folder);
  const name = options.to.replaceAll(/[^A-Za-z0-9.-]+/g, '_').slice(0, 100);
  await context.withApi(async (api) => {
    let shipped = 0;
    await ship({
      fetch: (after, limit) => fetchPage(api, { after, limit }),
      ...{ deliver, cursorPath: resolve(options.cursor ?? join(folder, `${name}.cursor`)) },
      ...{ signal: context.stopSignal(), random: Math.random, once: options.once === true },
      wait: async (ms, signal) => void (await delay(ms, undefined, { signal }).catch(() => undefined)),
      onTrouble: (message) => output.warn(message),
      onShipped: (count) => {
        shipped += count;
      },
    });
    output.say(`${shipped} decisions were delivered`);
  });
}

async function deliverTo({ output }: CliContext, { to, format, header = {} }: ShipOptions): Promise<Deliver> {
  const { deliverToFile, deliverToOtlp, formatRecords } = await import('#audit');
  if (to === 'stdout') return async (records) => output.raw(formatRecords(format, records));
  if (to.startsWith('file:')) return deliverToFile(resolve(to.slice('file:'.length)), format);
  if (/^https?:\/\//.test(to) && URL.canParse(to)) return deliverToOtlp(to, header);
  throw fail('CLI_USAGE', {
    problem: `--to ${to} is not a destination`,
    fix: 'write an http or https URL, file:PATH, or stdout',
  });
}

async function fetchPage(api: Api, query: RecordQuery): Promise<RecordReply> {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  const parameters = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
  return api.call<RecordReply>({ method: 'GET', path: `/v1/records?${parameters}` });
}

function addPair(text: string, before: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> {
  const at = text.indexOf('=');
  if (at < 1)
    throw fail('CLI_USAGE', {
      problem: `--header ${text} is not NAME=VALUE`,
      fix: 'such as: --header authorization="Bearer ..."',
    });
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

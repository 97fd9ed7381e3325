// `postern audit`: who called whom, what was decided and why; and, with --events, who changed the mesh itself. Only ever reads.
import { setTimeout as delay } from 'node:timers/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { TallyRow } from '#audit';
import type { ControlEvent, DecisionRecord, EventReply, RecordQuery, RecordReply } from '#wire';
import {
  columnsOf,
  eventColumns,
  eventRow,
  fieldTable,
  recordRow,
  streamLine,
  tallyColumns,
  tallyRow,
} from '../audit-view.ts';
import type { Api, CliContext } from '../context.ts';
import { fail } from '../errors.ts';
import { examples } from '../help.ts';
import { fullId } from '../names.ts';
import { timeOf } from '../when.ts';
import { registerExports } from './audit-export.ts';
import { registerProofs } from './audit-proofs.ts';

interface AuditOptions {
  readonly since?: string;
  readonly until?: string;
  readonly peer?: string;
  readonly service?: string;
  readonly decision?: 'allow' | 'deny' | 'error';
  readonly rule?: string;
  readonly path?: string;
  readonly hop?: 'inbound' | 'outbound';
  readonly reason?: string;
  readonly cluster?: string;
  readonly trace?: string;
  readonly id?: string;
  readonly action?: string;
  readonly limit?: number;
  readonly top?: 'denied-pairs' | 'rules' | 'hours';
  readonly events?: boolean;
  readonly wide?: boolean;
}

export function register(program: Command, context: CliContext): void {
  const audit = program
    .command('audit')
    .description('see what was decided, for whom and why; prove it, and hand it on');
  const query = addRange(
    addFilters(audit.command('query').description('find decisions that were made, the newest last')),
  )
    .option('--id <ID>', 'the decision of this id, as a refused caller was told')
    .addOption(new Option('--top <WHAT>', 'count instead, in whole hours').choices(['denied-pairs', 'rules', 'hours']))
    .option('--limit <N>', 'at most so many, the newest (default 100, at most 10000)', parseLimit)
    .action((options: AuditOptions) =>
      options.top
        ? countRecords(context, options)
        : options.events
          ? queryEvents(context, options)
          : queryRecords(context, options),
    );
  examples(
    query,
    'postern audit query --decision deny --since 1h',
    'postern audit query --peer checkout --service payments --path "/charges/*"',
    'postern audit query --id 0f3c2a9d51b8 -o json   # everything about one decision',
    'postern audit query --events --action enrol --since 24h',
  );
  const tail = addFilters(audit.command('tail').description('show decisions as they are made, until Ctrl-C')).action(
    (options: AuditOptions) => (options.events ? tailEvents(context, options) : tailRecords(context, options)),
  );
  examples(tail, 'postern audit tail', 'postern audit tail --decision deny -o json', 'postern audit tail --events');
  registerProofs(audit, context);
  registerExports<AuditOptions>(audit, context, {
    add: (command) => addRange(addDecisionFilters(command)),
    queryOf: (options, api) => queryOf(options, { now: context.clock.now(), trustDomain: api.trustDomain }),
  });
}

function addRange(command: Command): Command {
  return command
    .option('--since <TIME>', 'from then on: 10m, 24h, 7d, or an RFC 3339 time')
    .option('--until <TIME>', 'up to then, the same way');
}

function addFilters(command: Command): Command {
  return addDecisionFilters(command)
    .option('--events', "the control plane's own events instead: enrolments, bans, changes, admin actions")
    .option('--action <ACTION>', 'with --events: which kind, such as enrol, apply, ban')
    .option('--wide', 'also where the route led: route, cluster, endpoint, tries, milliseconds, trace');
}

function addDecisionFilters(command: Command): Command {
  return command
    .option(
      '--peer <SERVICE>',
      'who called: a service or SPIFFE ID, * at the end for a prefix (with --events: who did it)',
    )
    .option('--service <SERVICE>', 'who was called, the same way (with --events: what it was done to)')
    .addOption(new Option('--decision <DECISION>', 'what was decided').choices(['allow', 'deny', 'error']))
    .option('--rule <POLICY/RULE>', 'the rule that decided')
    .option('--path <PATH>', 'the path, * at the end for a prefix')
    .addOption(new Option('--hop <HOP>', 'which proxy wrote it').choices(['inbound', 'outbound']))
    .option('--reason <REASON>', 'such as default-deny, denied-by-rule or an error code')
    .option('--cluster <CLUSTER>', 'where its route led to, with /SUBSET or * at the end for a prefix')
    .option('--trace <ID>', 'every hop of one trace');
}

/** Counts come from tallies by the hour, so they are quick however many records there are, and no other filter goes with them. */
async function countRecords(context: CliContext, options: AuditOptions): Promise<void> {
  const { output } = context;
  const { top, since, until, limit, ...others } = options;
  const [other] = Object.keys(others);
  refuse(other !== undefined, `--${other} does not go with --top`);
  await context.withApi(async (api) => {
    const { since: from, until: to } = queryOf({ since, until } as AuditOptions, {
      ...{ now: context.clock.now(), trustDomain: api.trustDomain },
    });
    const given = { by: top, since: from, until: to, limit: limit === undefined ? undefined : Math.min(limit, 1_000) };
    const reply = await api.call<{ rows: readonly TallyRow[] }>({
      ...{ method: 'GET', path: `/v1/records/top?${parametersOf(given)}` },
    });
    output.data(reply, {
      columns: tallyColumns[top!],
      rows: reply.rows.map((row) => tallyRow(row, { by: top!, trustDomain: api.trustDomain })),
      empty: 'nothing was decided in that time',
    });
  });
}

async function queryRecords(context: CliContext, options: AuditOptions): Promise<void> {
  const { output } = context;
  refuse(options.action !== undefined, '--action goes with --events');
  await context.withApi(async (api) => {
    const query = queryOf(options, { now: context.clock.now(), trustDomain: api.trustDomain });
    const reply = (await api.call({ method: 'GET', path: `/v1/records?${parametersOf(query)}` })) as RecordReply;
    const { records } = reply;
    if (options.id !== undefined && records.length === 0)
      throw fail('CLI_NOT_FOUND', {
        what: 'decision',
        name: options.id,
        fix: 'see: postern audit query --decision deny',
      });
    const [only] = records;
    if (options.id !== undefined && only && records.length === 1) return output.data(reply, fieldTable(only));
    output.data(reply, {
      columns: columnsOf(options.wide === true),
      rows: records.map((record) => recordRow(record, api.trustDomain, options.wide)),
      empty: 'no decision matches',
    });
    if (reply.more && output.format === 'table') output.hint('older ones match too: raise --limit, or narrow the time');
    const refused = records.findLast(({ decision, kind }) => decision !== 'allow' && kind !== 'gap');
    if (refused) output.next(`postern audit query --id ${refused.id} -o json`, 'all about the last refusal');
  });
}

async function queryEvents(context: CliContext, options: AuditOptions): Promise<void> {
  const { output } = context;
  refuseRecordFilters(options);
  await context.withApi(async (api) => {
    const query = queryOf(options, { now: context.clock.now(), trustDomain: api.trustDomain });
    const reply = await fetchEvents(api, query);
    output.data(reply, {
      columns: eventColumns,
      rows: reply.events.map((event) => eventRow(event, api.trustDomain)),
      empty: 'no event matches',
    });
    if (reply.more && output.format === 'table') output.hint('older ones match too: raise --limit, or narrow the time');
  });
}

async function tailRecords(context: CliContext, options: AuditOptions): Promise<void> {
  const { output } = context;
  refuse(options.action !== undefined, '--action goes with --events');
  const { matchesRecord } = await import('#audit');
  await context.withApi(async (api) => {
    const query = queryOf(options, { now: context.clock.now(), trustDomain: api.trustDomain });
    const path = `/v1/records/tail?${parametersOf(query)}`;
    output.say('waiting for decisions; Ctrl-C ends');
    for await (const line of api.stream({ method: 'GET', path, signal: context.stopSignal() })) {
      // Other lines keep the stream alive.
      if (!isRecord(line) || !matchesRecord(query, line)) continue;
      output.item(line, streamLine(recordRow(line, api.trustDomain, options.wide), output.paint));
    }
  });
}

/** Events are few: looking once a second is enough. */
async function tailEvents(context: CliContext, options: AuditOptions): Promise<void> {
  const { output, clock } = context;
  refuseRecordFilters(options);
  const stop = context.stopSignal();
  await context.withApi(async (api) => {
    const query = queryOf(options, { now: clock.now(), trustDomain: api.trustDomain });
    let last = (await fetchEvents(api, { limit: 1 })).events.at(-1)?.seq ?? 0;
    output.say('waiting for events; Ctrl-C ends');
    while (!stop.aborted) {
      const { events } = await fetchEvents(api, { ...query, limit: 1_000 });
      for (const event of events.filter(({ seq }) => seq > last)) {
        output.item(event, streamLine(eventRow(event, api.trustDomain), output.paint));
        last = event.seq;
      }
      await pause(1_000, stop);
    }
  });
}

async function fetchEvents(api: Api, query: RecordQuery): Promise<EventReply> {
  return (await api.call({ method: 'GET', path: `/v1/events?${parametersOf(query)}` })) as {
    events: readonly ControlEvent[];
    more: boolean;
  };
}

/** The options as the API takes them: times in epoch milliseconds, services as SPIFFE IDs. Throws `CLI_USAGE`. */
export function queryOf(options: AuditOptions, o: { readonly now: number; readonly trustDomain: string }): RecordQuery {
  const { since, until, peer, service, events, wide: _, ...rest } = options;
  const query = {
    ...rest,
    ...(since === undefined ? {} : { since: timeOf(since, '--since', o.now) }),
    ...(until === undefined ? {} : { until: timeOf(until, '--until', o.now) }),
    ...(peer === undefined ? {} : { peer: idOf(peer, o.trustDomain, events) }),
    ...(service === undefined ? {} : { service: idOf(service, o.trustDomain, events) }),
  };
  refuse((query.since ?? 0) > (query.until ?? Number.POSITIVE_INFINITY), '--since is later than --until');
  return query;
}

/** A service's name is its SPIFFE path; actors of events may also be `local` or `unauthenticated`. */
function idOf(name: string, trustDomain: string, events = false): string {
  if (name === '*' || (events && (name === 'local' || name === 'unauthenticated'))) return name;
  return fullId(name, trustDomain);
}

function parametersOf(query: object): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  return new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
}

function parseLimit(text: string): number {
  const limit = Number(text);
  if (!/^\d+$/.test(text) || limit < 1 || limit > 10_000) throw new InvalidArgumentError('It must be 1 to 10000.');
  return limit;
}

function refuseRecordFilters({ decision, rule, path, hop, id, cluster, trace, wide }: AuditOptions): void {
  const wrong = Object.entries({ decision, rule, path, hop, id, cluster, trace, wide }).find(
    ([, value]) => value !== undefined,
  );
  refuse(wrong !== undefined, `--${wrong?.[0]} is about decisions and does not go with --events`);
}

function refuse(when: boolean, problem: string): void {
  if (when) throw fail('CLI_USAGE', { problem, fix: 'see: postern audit query --help' });
}

function isRecord(line: unknown): line is DecisionRecord {
  return typeof line === 'object' && line !== null && 'seq' in line && 'decision' in line;
}

/** Keeps the process alive while it waits, unlike the clock's timers. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}

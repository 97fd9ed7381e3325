// How decisions and events look to a person: one row each, or every field of one. Says nothing that is not in the record.
import type { TallyRow } from '#audit';
import type { ControlEvent, DecisionRecord, WitnessedLog } from '#wire';
import { shortId } from './names.ts';
import { cleanLine, type Tone } from './paint.ts';
import type { Cell, Table } from './table.ts';
import { ago } from './when.ts';

export const recordColumns = [
  'TIME',
  'HOP',
  'PEER → SERVICE',
  'METHOD',
  'PATH',
  'DECISION',
  'STATUS',
  'RULE',
  'ID',
] as const;
export const eventColumns = ['TIME', 'ACTION', 'OUTCOME', 'ACTOR', 'SUBJECT', 'REASON', 'DETAILS'] as const;

const tones: Readonly<Record<string, Tone>> = {
  allow: 'good',
  deny: 'bad',
  error: 'warn',
  done: 'good',
  refused: 'bad',
  failed: 'warn',
};

/** What `--wide` shows beside them, between the rule and the id. */
export const wideColumns = ['ROUTE', 'CLUSTER', 'ENDPOINT', 'TRIES', 'MS', 'TRACE'] as const;

export const columnsOf = (isWide: boolean): readonly string[] =>
  isWide ? [...recordColumns.slice(0, -1), ...wideColumns, 'ID'] : recordColumns;

/** A record as the cells of `columnsOf`; `trustDomain` is left out of names. */
export function recordRow(record: DecisionRecord, trustDomain: string, isWide = false): Cell[] {
  const name = (id: string | undefined): string => shortName(id, trustDomain);
  const decided = { text: record.decision, tone: tones[record.decision] ?? 'dim' } as const;
  const hop = `${name(record.peer)} → ${name(record.to)}`;
  const words = [record.time, record.hop, hop, record.method, record.path, decided, record.status];
  return [...words, ruleOf(record), ...(isWide ? wayOf(record) : []), record.id];
}

function wayOf({ virtualService, route, cluster, endpoint, tries, ms, traceId, fault }: DecisionRecord): Cell[] {
  const way = virtualService === undefined ? '-' : `${virtualService}#${route ?? '?'}`;
  return [fault ? `${way} (${fault})` : way, cluster, endpoint, tries ?? (endpoint ? 1 : 0), ms.toFixed(1), traceId];
}

/** What decided: the rule, or the reason when no rule did. */
export function ruleOf(record: DecisionRecord): string {
  if (record.kind === 'gap')
    return `${record.lost ?? '?'} records lost from ${record.lostFrom ?? '?'} (${record.reason})`;
  return record.rule ?? `(${record.reason})`;
}

export function eventRow(event: ControlEvent, trustDomain: string): Cell[] {
  const outcome = { text: event.outcome, tone: tones[event.outcome] ?? 'dim' } as const;
  const details = Object.entries(event.details ?? {}).map(([name, value]) => `${name}=${value}`);
  const { time, action, actor, subject, reason } = event;
  return [
    time,
    action,
    outcome,
    shortName(actor, trustDomain),
    shortName(subject, trustDomain),
    reason,
    details.join(' '),
  ];
}

export const tallyColumns = {
  'denied-pairs': ['COUNT', 'PEER', 'SERVICE', 'DECISION'],
  rules: ['COUNT', 'RULE', 'DECISION'],
  hours: ['COUNT', 'HOUR', 'DECISION'],
} as const;

export function tallyRow(
  { count, decision, peer, service, rule, hour }: TallyRow,
  o: { readonly by: keyof typeof tallyColumns; readonly trustDomain: string },
): Cell[] {
  const decided = { text: decision, tone: tones[decision] ?? 'dim' } as const;
  if (o.by === 'denied-pairs')
    return [count, shortName(peer, o.trustDomain), shortName(service, o.trustDomain), decided];
  return [count, o.by === 'rules' ? rule : hour, decided];
}

export const logColumns = ['SERVICE', 'INSTANCE', 'RECORDS', 'SEEN', 'ALARM', 'KEY'] as const;

export function logRow(log: WitnessedLog, o: { readonly trustDomain: string; readonly now: number }): Cell[] {
  const { service, instance, size, seenAt, alarm, verifierKey } = log;
  const state = alarm === undefined ? ({ text: '-', tone: 'dim' } as const) : ({ text: alarm, tone: 'bad' } as const);
  return [shortName(service, o.trustDomain), instance, size, ago(seenAt, o.now), state, verifierKey];
}

/** Every field of one value, one a row. */
export function fieldTable(value: object): Table {
  const text = (field: unknown): string => (typeof field === 'object' ? JSON.stringify(field) : String(field));
  return { columns: ['FIELD', 'VALUE'], rows: Object.entries(value).map(([name, field]) => [name, text(field)]) };
}

/** One line for a stream, in the order of the columns. */
export function streamLine(cells: readonly Cell[], paint: (tone: Tone, text: string) => string): string {
  const widths = [24, 8, 24, 6, 24, 5, 6, 24, 18, 18, 21, 5, 6, 32];
  const shown = cells.map((cell, index) => {
    const { text, tone } = typeof cell === 'object' ? cell : { text: String(cell ?? '-'), tone: undefined };
    const flat = cleanLine(text) || '-';
    const space = ' '.repeat(Math.max(0, (widths[index] ?? 0) - flat.length));
    return (tone ? paint(tone, flat) : flat) + space;
  });
  return shown.join('  ').trimEnd();
}

function shortName(id: string | undefined, trustDomain: string): string {
  return id === undefined ? '-' : shortId(id, trustDomain);
}

// One exchange as one line: who called whom, what came of it and why; with -o wide also the way that it took, sizes and ids.
import type { DecisionRecord } from '#wire';
import { shortId } from './names.ts';
import type { Output } from './output.ts';
import type { Tone } from './paint.ts';
import { type Cell, lineOf } from './table.ts';

const tones: Readonly<Record<DecisionRecord['decision'], Tone>> = { allow: 'good', deny: 'bad', error: 'warn' };

export function exchangeLine(
  record: DecisionRecord,
  o: { readonly output: Output; readonly trustDomain: string },
): string {
  const { wide, paint } = o.output;
  const { time, hop, decision, status = 0 } = record;
  const name = (id: string | undefined): string => (id === undefined ? '?' : shortId(id, o.trustDomain));
  const tone: Tone = status >= 500 ? 'bad' : status >= 400 ? 'warn' : 'good';
  const cells: readonly (readonly [cell: Cell, width: number])[] = [
    [time.slice(11, 23), 12],
    [hop === 'inbound' ? 'in' : 'out', 3],
    [`${name(record.peer)} → ${name(record.to)}`, 24],
    [record.method, 6],
    [record.path, 24],
    [{ text: status > 0 ? String(status) : '-', tone }, 3],
    [msText(record.ms), 7],
    [{ text: decision, tone: tones[decision] }, 5],
    [whyOf(record), wide ? 32 : 0],
    ...(wide ? wideCells(record) : []),
  ];
  return [lineOf(cells, paint), ...notesOf(record).map((note) => paint('dim', note))].join('  ');
}

/** The rule that decided; beside it, or in its place, whatever else ended it. */
function whyOf({ rule, reason }: DecisionRecord): string {
  if (rule === undefined) return `(${reason})`;
  return reason === 'allowed' || reason === 'denied-by-rule' ? rule : `${rule} (${reason})`;
}

/** What is out of the ordinary. */
function notesOf({ edge, tries, fault, mirrored, protocol, grpcStatus, security }: DecisionRecord): string[] {
  return [
    ...(edge === undefined ? [] : [`from outside by ${edge}`]),
    ...(tries === undefined ? [] : [`${tries} tries`]),
    ...(fault === undefined ? [] : [`fault ${fault}`]),
    ...(mirrored ? ['a copy'] : []),
    ...(protocol === undefined ? [] : [protocol]),
    ...(grpcStatus === undefined || grpcStatus === 0 ? [] : [`grpc status ${grpcStatus}`]),
    ...(security === 'none' ? ['in the clear'] : []),
  ];
}

function wideCells(record: DecisionRecord): (readonly [cell: Cell, width: number])[] {
  const { virtualService, route, cluster, upstreamMs } = record;
  const way = virtualService === undefined ? undefined : `${virtualService}/${route} → ${cluster ?? '-'}`;
  return [
    [way, 28],
    [record.instance, 16],
    [record.remote, 21],
    [record.endpoint, 21],
    [`${record.bytesIn}/${record.bytesOut} B`, 12],
    [upstreamMs === undefined ? undefined : `answer after ${msText(upstreamMs)}`, 20],
    [record.traceId, 32],
    [record.id, 0],
  ];
}

function msText(ms: number): string {
  if (ms >= 1_000) return `${(ms / 1_000).toFixed(2)}s`;
  return ms >= 100 ? `${Math.round(ms)}ms` : `${ms.toFixed(1)}ms`;
}

// Records on their way to another system: one batch at a time in the order they were received, tried again until it is taken. The store is
// the spool and a cursor says how far it is, so a receiver may be away for as long as records are kept. At least once, never out of order.
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { createBackoff } from '#base/backoff';
import { messageOf } from '#base/error';
import { writeFileAtomic } from '#base/files';
import type { DecisionRecord, RecordReply } from '#wire';
import { type ExportFormat, formatRecords, otlpOf } from './formats.ts';
import { readIfThere } from './log-files.ts';

/** Takes a batch; on return it is the receiver's. */
export type Deliver = (records: readonly DecisionRecord[], signal: AbortSignal) => Promise<void>;

export interface ShipOptions {
  /** The next records after a place in the store. */
  readonly fetch: (after: number, limit: number) => Promise<RecordReply>;
  readonly deliver: Deliver;
  /** Where the cursor is kept. */
  readonly cursorPath: string;
  readonly signal: AbortSignal;
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly random: () => number;
  /** `isOver`: it goes on again. */
  readonly onTrouble: (message: string, isOver: boolean) => void;
  readonly onShipped: (count: number) => void;
  /** Stop when there is nothing more, rather than wait for it. */
  readonly once?: boolean;
}

const batch = 500;
const idleMs = 1_000;
const deliverMs = 15_000;

/** Ships until `signal`; rejects only when the cursor cannot be kept. */
export async function shipRecords(o: ShipOptions): Promise<void> {
  const backoff = createBackoff({ firstMs: 500, longestMs: 60_000, random: o.random });
  let after = Number(readIfThere(o.cursorPath)?.toString() ?? 0) || 0;
  let inTrouble = false;
  while (!o.signal.aborted) {
    let reply: RecordReply;
    try {
      reply = await o.fetch(after, batch);
      if (reply.records.length > 0)
        await o.deliver(reply.records, AbortSignal.any([o.signal, AbortSignal.timeout(deliverMs)]));
    } catch (thrown) {
      if (o.signal.aborted) return;
      if (!inTrouble) o.onTrouble(`not delivered, trying again: ${messageOf(thrown)}`, false);
      inTrouble = true;
      await o.wait(backoff.next(), o.signal);
      continue;
    }
    if (inTrouble) o.onTrouble('delivering again', true);
    inTrouble = false;
    backoff.reset();
    if (reply.next !== undefined && reply.next !== after) {
      after = reply.next;
      writeFileAtomic(o.cursorPath, String(after));
      o.onShipped(reply.records.length);
    }
    if (reply.more) continue;
    if (o.once) return;
    await o.wait(idleMs, o.signal);
  }
}

/** To an OTLP/HTTP receiver; `/v1/logs` is added to a bare origin. Certificates are verified as everywhere. */
export function deliverToOtlp(endpoint: string, headers: Readonly<Record<string, string>> = {}): Deliver {
  const url = new URL(endpoint);
  if (url.pathname === '/') url.pathname = '/v1/logs';
  return async (records, signal) => {
    const response = await fetch(url, {
      ...{ method: 'POST', headers: { 'content-type': 'application/json', ...headers }, signal, redirect: 'error' },
      body: JSON.stringify(otlpOf(records)),
    });
    await response.body?.cancel();
    if (!response.ok) throw new Error(`${url.host} answered ${response.status}`);
  };
}

/** To the end of a file, synced before the cursor moves on. */
export function deliverToFile(path: string, format: ExportFormat): Deliver {
  return async (records) => {
    const file = openSync(path, 'a', 0o600);
    try {
      const bytes = Buffer.from(formatRecords(format, records));
      for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  };
}

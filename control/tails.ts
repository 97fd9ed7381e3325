// Following decision records as they come in. A reader that is too slow is told how many it missed; it never holds anybody else up.
import type { ServerResponse } from 'node:http';
import { matchesRecord, type RecordStore } from '#audit';
import type { Clock } from '#base/clock';
import { type DecisionRecord, type RecordQuery, wireVersion } from '#wire';
import { fail } from './errors.ts';

export interface Tails {
  /** Takes over the response; throws REQUEST_TOO_MANY. */
  open(o: { readonly query: RecordQuery; readonly start: () => ServerResponse }): void;
  close(): void;
}

export interface TailsOptions {
  readonly records: Pick<RecordStore, 'tail'>;
  readonly clock: Clock;
  readonly trustDomain: string;
  readonly limit: number;
}

export function createTails({ records, clock, trustDomain, limit }: TailsOptions): Tails {
  const open = new Set<ServerResponse>();
  /** Stands for what a slow reader did not get. */
  const gap = (lost: number): DecisionRecord => ({
    ...{ v: wireVersion, id: 'tail', seq: 1, time: new Date(clock.now()).toISOString(), instance: 'tail' },
    ...{ service: `spiffe://${trustDomain}/postern/server`, hop: 'inbound', kind: 'gap', connection: 'tail' },
    ...{ decision: 'error', reason: 'tail-too-slow', bytesIn: 0, bytesOut: 0, ms: 0, lost },
  });
  return {
    open({ query, start }) {
      if (open.size >= limit) throw fail('REQUEST_TOO_MANY', { who: 'followers of records' });
      const raw = start();
      open.add(raw);
      let isBlocked = false;
      let lost = 0;
      const write = (record: DecisionRecord): void => {
        isBlocked = !raw.write(`${JSON.stringify(record)}\n`);
      };
      const stop = records.tail((record) => {
        if (!matchesRecord(query, record) || raw.writableEnded) return;
        if (isBlocked) lost++;
        else write(record);
      });
      raw.on('drain', () => {
        isBlocked = false;
        if (lost === 0) return;
        const missed = lost;
        lost = 0;
        write(gap(missed));
      });
      raw.on('error', () => raw.destroy());
      raw.once('close', () => {
        open.delete(raw);
        stop();
      });
      raw.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
      raw.flushHeaders();
    },
    close() {
      for (const raw of [...open]) raw.end();
    },
  };
}

// The control plane's events as a Merkle log of the same kind as a proxy's. An event is durable in the database first; the tree follows a
// moment later and after every restart, in the order of the sequences, so that none can be left out without a hole.
import type { DatabaseSync } from 'node:sqlite';
import type { Clock } from '#base/clock';
import { messageOf } from '#base/error';
import type { Log } from '#base/log';
import { Bytes } from './bytes.ts';
import { canonicalJson } from './canonical.ts';
import { type LogWriter, openLogWriter } from './log-writer.ts';
import { newSalt } from './salt.ts';

export interface EventTree {
  /** There is something new. */
  soon(): void;
  /** Takes in everything up to now. */
  integrate(): void;
  close(): void;
}

export interface EventTreeOptions {
  readonly sql: DatabaseSync;
  readonly folder: string;
  /** Asked when the first event is taken in. */
  readonly origin: () => string;
  readonly clock: Clock;
  readonly log: Log;
}

const soonMs = 200;
const retryMs = 5_000;
const piece = 256;

export function createEventTree({ sql, folder, origin, clock, log }: EventTreeOptions): EventTree {
  const next = sql.prepare('SELECT seq, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?');
  let writer: LogWriter | undefined;
  let cancel: (() => void) | undefined;
  let isFailing = false;

  const open = (): LogWriter =>
    openLogWriter({
      ...{
        folder,
        origin: origin(),
        maxBytes: Number.POSITIVE_INFINITY,
        maxAgeMs: Number.POSITIVE_INFINITY,
        mayDrop: false,
      },
      now: () => clock.now(),
      notify: (notice) => {
        if (notice.what === 'notice') log.error(notice.message, { folder });
        else if (notice.what === 'loss')
          log.error('events are missing from the log', { folder, from: notice.loss.from, count: notice.loss.count });
      },
    });
  let added = 0;
  const integrate = (): void => {
    if (!writer) {
      writer = open();
      added = writer.standing.durable;
    }
    for (;;) {
      const rows = next.all(added, piece).map(({ seq, body }) => ({ seq: Number(seq), body: String(body) }));
      const halves = rows.map(({ body }) => splitEvent(body));
      const rests = new Bytes();
      for (const { rest } of halves) rests.frame(rest);
      const clear = Buffer.from(halves.map((half) => `${half.clear}\n`).join(''));
      writer.add({ rests: rests.from(0), clear, seqs: rows.map(({ seq }) => seq) });
      added = rows.at(-1)?.seq ?? added;
      writer.commit();
      if (rows.length < piece) break;
    }
    writer.publish();
  };
  const attempt = (): void => {
    cancel = undefined;
    try {
      integrate();
      isFailing = false;
    } catch (thrown) {
      if (!isFailing) log.error(`events could not be added to their log: ${messageOf(thrown)}`, { folder });
      isFailing = true;
      cancel = clock.after(retryMs, attempt);
    }
  };

  return {
    soon() {
      cancel ??= clock.after(soonMs, attempt);
    },
    integrate,
    close() {
      cancel?.();
      attempt();
      (cancel as (() => void) | undefined)?.();
      writer?.close();
    },
  };
}

/** The address of whoever did it may have to be erased one day. */
function splitEvent(body: string): { rest: string; clear: string } {
  const { remote, ...event } = JSON.parse(body) as { remote?: string };
  const clear = remote === undefined ? {} : { remote: [newSalt(), remote] };
  return { rest: canonicalJson(event), clear: JSON.stringify(clear) };
}

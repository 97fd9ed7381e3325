// The control plane's copy of every proxy's records, and the log of its own events: durable on return, safe to send twice, searchable.
// Keeps each record's canonical text as it was hashed; the columns beside it only serve to find it.
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { Clock } from '#base/clock';
import { type Database, openDatabase } from '#base/database';
import type { Log } from '#base/log';
import type { ControlEvent, DecisionRecord, EventReply, RecordQuery, RecordReply } from '#wire';
import { encodeRecord } from './canonical.ts';
import { createEventLog } from './event-log.ts';
import { createEventTree } from './event-tree.ts';
import { createSequences, type Gap } from './gaps.ts';
import { maskStore, type StoreMask } from './mask-store.ts';
import { queryRecords } from './record-query.ts';
import { createRetention, type RetentionSettings } from './retention.ts';
import { migrations } from './tables.ts';
import { createTallies, type TallyQuery, type TallyRow } from './tallies.ts';
import { type Alarm, createWitness, type Witness } from './witness.ts';

export type { Gap } from './gaps.ts';

export interface RecordStoreOptions extends RetentionSettings {
  /** Usually `<home>/audit.db`; the store opens its own connection. */
  readonly path: string;
  readonly clock: Clock;
  /** Where the events' Merkle log is kept and what it is called; without it they are in the database only. */
  readonly eventLog?: { readonly folder: string; readonly origin: () => string; readonly log: Log };
  /** Who cosigns the logs of proxies; a key that lasts as long as the store by default. */
  readonly witness?: { readonly name: () => string; readonly key: KeyObject };
  /** Told once of each alarm about a proxy's log. */
  readonly onAlarm?: (alarm: Alarm) => void;
}

export interface RecordStore {
  /**
   * Keeps a batch that an authenticated instance sent. On return it is durable up to the sequence returned; records that were already
   * kept are passed over. The instance is the authenticated one, whatever the records say.
   */
  add(instance: string, records: readonly DecisionRecord[]): number;
  /** Matching records, the newest last. */
  query(query: RecordQuery): RecordReply;
  /** Calls back with every record kept from now on; the result ends it. */
  tail(listener: (record: DecisionRecord) => void): () => void;
  /** Keeps a control-plane event: durable on return, with a sequence of its own. */
  addEvent(event: Omit<ControlEvent, 'v' | 'seq' | 'time'>): ControlEvent;
  events(query: RecordQuery): EventReply;
  /** Like `tail`, for events. */
  tailEvents(listener: (event: ControlEvent) => void): () => void;
  /** Sequences that instances never sent, the newest last; at most 1 000. `declared`: the proxy itself said that it lost them. */
  gaps(query?: { readonly instance?: string; readonly declared?: boolean }): readonly Gap[];
  /** Removes what is past its age or the size limit, a bounded piece at a time; true when more is due. Also runs with `add`. */
  prune(): boolean;
  /** Erases values for good; resolves with how many. What a proxy's own log holds is erased there. */
  mask(mask: StoreMask): Promise<number>;
  readonly witness: Witness;
  /** How often what was decided, by hour. */
  tally(query: TallyQuery): readonly TallyRow[];
  close(): void;
}

export function openRecordStore(options: RecordStoreOptions): RecordStore {
  const { path, clock } = options;
  const database = openDatabase({ path, owner: 'audit', migrations });
  const { sql } = database;
  const insert = sql.prepare(
    `INSERT INTO records (instance, epoch, seq, received, time, id, peer, service, decision, hop, reason, rule, path, cluster, trace, body)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (instance, epoch, seq) DO NOTHING`,
  );
  const grow = sql.prepare(
    'INSERT INTO shares (instance, bytes) VALUES (?, ?) ON CONFLICT (instance) DO UPDATE SET bytes = bytes + excluded.bytes',
  );
  const sequences = createSequences(sql);
  const events = createEventLog({ sql, clock });
  const tallies = createTallies(sql);
  const tree = options.eventLog && createEventTree({ sql, clock, ...options.eventLog });
  tree?.soon();
  const witness = createWitness({
    ...{ database, clock, onAlarm: (alarm) => options.onAlarm?.(alarm) },
    ...(options.witness ?? { name: () => 'postern/witness', key: generateKeyPairSync('ed25519').privateKey }),
  });
  const retention = createRetention({ database, clock, settings: options });
  const listeners = new Set<(record: DecisionRecord) => void>();

  /** The bytes that it takes; 0 when it was kept before. */
  const keep = (instance: string, record: DecisionRecord, received: number): number => {
    const time = Date.parse(record.time);
    const body = encodeRecord(record).trimEnd();
    const { changes } = insert.run(
      instance,
      sequences.epoch(instance),
      record.seq,
      received,
      Number.isFinite(time) ? time : received,
      record.id,
      record.peer ?? null,
      record.to ?? null,
      record.decision,
      record.hop,
      record.reason,
      record.rule ?? null,
      record.path ?? null,
      record.cluster ?? null,
      record.traceId ?? null,
      body,
    );
    return changes > 0 ? body.length : 0;
  };

  return {
    add(instance, records) {
      const received = clock.now();
      const fresh: DecisionRecord[] = [];
      sequences.forget();
      database.transaction(() => {
        let grown = 0;
        for (const record of records) {
          let bytes = keep(instance, record, received);
          if (bytes === 0 && sequences.isReused({ instance, seq: record.seq, id: record.id })) {
            sequences.restart({ instance, seq: record.seq, at: received });
            bytes = keep(instance, record, received);
          }
          if (bytes === 0) continue;
          grown += bytes;
          sequences.note({ instance, record, at: received });
          fresh.push({ ...record, instance });
        }
        if (grown > 0) grow.run(instance, grown);
        tallies.add(fresh, received);
        sequences.save(instance, received);
      });
      retention.step();
      for (const record of fresh) for (const listener of listeners) listener(record);
      return records.reduce((through, { seq }) => Math.max(through, seq), 0);
    },
    query: (query) => queryRecords(sql, query),
    tail(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    addEvent(event) {
      const kept = events.add(event);
      tree?.soon();
      return kept;
    },
    events: (query) => events.query(query),
    tailEvents: (listener) => events.tail(listener),
    gaps: (query = {}) => sequences.gaps(query),
    prune: () => retention.prune(),
    mask: (mask) => maskStore(database, mask, () => new Promise((resolve) => setImmediate(resolve))),
    witness,
    tally: (query) => tallies.query(query),
    close() {
      if (!sql.isOpen) return;
      tree?.close();
      closeOnce(database);
    },
  };
}

function closeOnce(database: Database): void {
  if (database.sql.isOpen) database.close();
}

// The control plane's store: what was acknowledged is found again, once, by every filter; what is missing is noticed.
import { statSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openRecordStore, type RecordStore, type RecordStoreOptions } from '#audit';
import type { DecisionRecord, RecordQuery } from '#wire';
import { createClock } from '../helpers/clock.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { sentRecord } from '../helpers/record.ts';

function openStore(options: Partial<RecordStoreOptions> = {}): RecordStore {
  const store = openRecordStore({ path: join(temporaryFolder(), 'audit.db'), clock: createClock(), ...options });
  onTestFinished(() => store.close());
  return store;
}

const seqs = (records: readonly DecisionRecord[]): number[] => records.map(({ seq }) => seq);
const sent = (...numbers: number[]): DecisionRecord[] => numbers.map((seq) => sentRecord(seq));

describe('keeping', () => {
  test('a batch is acknowledged up to its last sequence and comes back as it was', () => {
    const store = openStore();
    const records = sent(1, 2, 3);
    expect(store.add('i-1', records)).toBe(3);
    expect(store.query({})).toEqual({ records, more: false });
  });

  test('a batch sent again, whole or in part, is kept once and told of once', () => {
    const store = openStore();
    const told: number[] = [];
    store.tail(({ seq }) => told.push(seq));
    store.add('i-1', sent(1, 2, 3));
    expect(store.add('i-1', sent(2, 3, 4))).toBe(4);
    expect(store.add('i-1', sent(1, 2))).toBe(2);
    expect(seqs(store.query({}).records)).toEqual([1, 2, 3, 4]);
    expect(told).toEqual([1, 2, 3, 4]);
  });

  test('two instances may use the same sequences', () => {
    const store = openStore();
    store.add('i-1', sent(1));
    store.add('i-2', sent(1));
    expect(store.query({}).records.map(({ instance }) => instance)).toEqual(['i-1', 'i-2']);
  });

  test('a record counts as written by the instance that was authenticated, whatever it says', () => {
    const store = openStore();
    store.add('i-real', [sentRecord(1, { instance: 'i-other' })]);
    expect(store.query({}).records[0]!.instance).toBe('i-real');
  });

  test('acknowledged records and events survive reopening, in a file of mode 0600', () => {
    const path = join(temporaryFolder(), 'audit.db');
    const first = openRecordStore({ path, clock: createClock() });
    first.add('i-1', sent(1, 2));
    first.addEvent({ action: 'ban', outcome: 'done', actor: 'local' });
    first.close();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const store = openStore({ path });
    expect(seqs(store.query({}).records)).toEqual([1, 2]);
    expect(store.addEvent({ action: 'unban', outcome: 'done', actor: 'local' }).seq).toBe(2);
    store.add('i-1', sent(5));
    expect(store.gaps()).toMatchObject([{ first: 3, last: 4 }]);
  });

  test('a batch that fails half-way leaves nothing behind', () => {
    const store = openStore();
    const broken = { ...sentRecord(2), hop: null } as unknown as DecisionRecord;
    expect(() => store.add('i-1', [sentRecord(1), broken])).toThrow();
    expect(store.query({}).records).toEqual([]);
    store.add('i-1', sent(1, 2));
    expect(store.gaps()).toEqual([]);
  });

  test('a listener that has left hears nothing more', () => {
    const store = openStore();
    const told: number[] = [];
    const leave = store.tail(({ seq }) => told.push(seq));
    store.add('i-1', sent(1));
    leave();
    store.add('i-1', sent(2));
    expect(told).toEqual([1]);
  });
});

describe('missing sequences', () => {
  test('a hole is noticed, and is undeclared until the proxy owns up to it', () => {
    const store = openStore();
    store.add('i-1', sent(1, 2));
    store.add('i-1', sent(6));
    expect(store.gaps()).toMatchObject([{ instance: 'i-1', first: 3, last: 5, declared: false }]);
    store.add('i-1', [sentRecord(7, { kind: 'gap', lost: 3, lostFrom: 3, reason: 'AUDIT_QUEUE_FULL' })]);
    expect(store.gaps()).toMatchObject([{ first: 3, last: 5, declared: true, reason: 'AUDIT_QUEUE_FULL' }]);
    expect(store.gaps({ declared: false })).toEqual([]);
  });

  test('a declaration that covers a part leaves the rest undeclared', () => {
    const store = openStore();
    store.add('i-1', sent(1));
    store.add('i-1', sent(10));
    store.add('i-1', [sentRecord(11, { kind: 'gap', lost: 3, lostFrom: 4, reason: 'AUDIT_RETENTION' })]);
    expect(store.gaps({ declared: false })).toMatchObject([
      { first: 2, last: 3 },
      { first: 7, last: 9 },
    ]);
  });

  test('a record that arrives late closes its hole', () => {
    const store = openStore();
    store.add('i-1', sent(1, 4));
    store.add('i-1', sent(2, 3));
    expect(store.gaps()).toEqual([]);
  });

  test('an instance may begin at any sequence', () => {
    const store = openStore();
    store.add('i-1', sent(500));
    expect(store.gaps()).toEqual([]);
  });

  test('L2: an instance that counts from the start again is noticed, and both histories are kept', () => {
    const store = openStore();
    store.add('i-1', sent(1, 2, 3));
    store.add('i-1', [sentRecord(1, { id: 'other-1' }), sentRecord(2, { id: 'other-2' })]);
    expect(store.query({}).records.map(({ id }) => id)).toEqual(['d-1', 'd-2', 'd-3', 'other-1', 'other-2']);
    expect(store.gaps()).toMatchObject([{ first: 1, last: 3, declared: false, reason: 'AUDIT_SEQUENCE_RESTARTED' }]);
  });
});

describe('finding', () => {
  const at = (minute: number): string => new Date(Date.UTC(2026, 0, 1, 0, minute)).toISOString();
  const payments = 'spiffe://example.org/payments';
  const table: Partial<DecisionRecord>[] = [
    { time: at(1), peer: 'spiffe://example.org/checkout', path: '/charges/1' },
    { time: at(2), peer: 'spiffe://example.org/web', decision: 'deny', reason: 'default-deny', path: '/charges/2' },
    {
      time: at(3),
      peer: 'spiffe://example.org/web/eu',
      to: 'spiffe://example.org/ledger',
      path: '/entries',
      hop: 'outbound',
    },
    { time: at(4), decision: 'deny', reason: 'denied-by-rule', rule: 'payments-access/no', path: '/admin%2A' },
    { time: at(5), decision: 'error', reason: 'UPSTREAM_TIMEOUT', path: '/charges' },
  ];
  const filters: [RecordQuery, number[]][] = [
    [{}, [1, 2, 3, 4, 5]],
    [{ since: Date.parse(at(2)), until: Date.parse(at(4)) }, [2, 3]],
    [{ peer: 'spiffe://example.org/web' }, [2]],
    [{ peer: 'spiffe://example.org/web*' }, [2, 3]],
    [{ service: 'spiffe://example.org/ledger' }, [3]],
    [{ service: payments, decision: 'deny' }, [2, 4]],
    [{ decision: 'allow' }, [1, 3]],
    [{ decision: 'error' }, [5]],
    [{ reason: 'default-deny' }, [2]],
    [{ rule: 'payments-access/no' }, [4]],
    [{ path: '/charges' }, [5]],
    [{ path: '/charges*' }, [1, 2, 5]],
    [{ path: '/charges/*' }, [1, 2]],
    [{ path: '*' }, [1, 2, 3, 4, 5]],
    [{ path: '/admin%2A' }, [4]],
    [{ hop: 'outbound' }, [3]],
    [{ id: 'd-3' }, [3]],
    [{ id: "d-3' OR 1=1 --" }, []],
    [{ peer: '%' }, []],
  ];

  test.each(filters)('%j finds %j, the newest last', (query, expected) => {
    const store = openStore();
    store.add(
      'i-1',
      table.map((changes, index) => sentRecord(index + 1, changes)),
    );
    expect(seqs(store.query(query).records)).toEqual(expected);
  });

  test('the limit keeps the newest and says that there are more', () => {
    const store = openStore();
    store.add('i-1', sent(1, 2, 3, 4));
    expect(seqs(store.query({ limit: 2 }).records)).toEqual([3, 4]);
    expect(store.query({ limit: 2 }).more).toBe(true);
    expect(store.query({ limit: 4 }).more).toBe(false);
  });

  test('any combination of filters finds exactly what a scan finds', () => {
    const letters = fc.constantFrom('a', 'b', 'ab', 'a*', 'b/a');
    const random = fc.record({
      peer: letters,
      to: letters,
      path: letters,
      decision: fc.constantFrom('allow' as const, 'deny' as const, 'error' as const),
      minute: fc.integer({ min: 0, max: 5 }),
    });
    const question = fc.record(
      {
        peer: letters,
        service: letters,
        path: letters,
        decision: random.map((r) => r.decision),
        since: fc.integer({ min: 0, max: 5 }),
      },
      { requiredKeys: [] },
    );
    const matches = (text: string | undefined, pattern: string | undefined): boolean =>
      pattern === undefined || (pattern.endsWith('*') ? !!text?.startsWith(pattern.slice(0, -1)) : text === pattern);
    fc.assert(
      fc.property(fc.array(random, { maxLength: 12 }), question, (rows, q) => {
        const store = openRecordStore({ path: ':memory:', clock: createClock() });
        const records = rows.map(({ minute, ...row }, index) => sentRecord(index + 1, { ...row, time: at(minute) }));
        store.add('i-1', records);
        const query: RecordQuery = {
          ...(q.peer === undefined ? {} : { peer: q.peer }),
          ...(q.service === undefined ? {} : { service: q.service }),
          ...(q.path === undefined ? {} : { path: q.path }),
          ...(q.decision === undefined ? {} : { decision: q.decision }),
          ...(q.since === undefined ? {} : { since: Date.parse(at(q.since)) }),
        };
        const expected = records
          .filter((r) => matches(r.peer, q.peer) && matches(r.to, q.service) && matches(r.path, q.path))
          .filter((r) => q.decision === undefined || r.decision === q.decision)
          .filter((r) => q.since === undefined || Date.parse(r.time) >= Date.parse(at(q.since)))
          .sort((a, b) => Date.parse(a.time) - Date.parse(b.time) || a.seq - b.seq);
        expect(seqs(store.query(query).records)).toEqual(seqs(expected));
        store.close();
      }),
      { numRuns: 150 },
    );
  });
});

describe('control-plane events', () => {
  test('each has its own sequence and the time of the clock, and is found by actor, subject, action and reason', () => {
    const store = openStore();
    const told: number[] = [];
    store.tailEvents(({ seq }) => told.push(seq));
    const admin = 'spiffe://example.org/postern/admin/alice';
    const first = store.addEvent({
      action: 'token.create',
      outcome: 'done',
      actor: admin,
      subject: 'spiffe://example.org/a',
    });
    store.addEvent({
      action: 'enrol',
      outcome: 'refused',
      actor: 'unauthenticated',
      reason: 'TOKEN_USED',
      details: { b: 1, a: 'x' },
    });
    expect(first).toEqual({
      v: 1,
      seq: 1,
      time: '2026-01-01T00:00:00.000Z',
      action: 'token.create',
      outcome: 'done',
      actor: admin,
      subject: 'spiffe://example.org/a',
    });
    expect(store.events({}).events.map(({ seq }) => seq)).toEqual([1, 2]);
    expect(store.events({ action: 'enrol' }).events).toMatchObject([{ seq: 2, details: { a: 'x', b: 1 } }]);
    expect(store.events({ peer: 'spiffe://example.org/postern/*' }).events).toEqual([first]);
    expect(store.events({ service: 'spiffe://example.org/a' }).events).toEqual([first]);
    expect(store.events({ reason: 'TOKEN_USED', limit: 1 }).events).toHaveLength(1);
    expect(store.events({ limit: 1 })).toMatchObject({ events: [{ seq: 2 }], more: true });
    expect(told).toEqual([1, 2]);
  });
});

describe('retention', () => {
  test('records past their age go, counted from when they were received', () => {
    const clock = createClock();
    const store = openStore({ clock, keepMs: 1_000 });
    store.add('i-1', [sentRecord(1, { time: '1970-01-01T00:00:00.000Z' })]);
    expect(store.prune()).toBe(false);
    expect(store.query({}).records).toHaveLength(1);
    clock.advance(1_001);
    store.add('i-1', sent(2));
    store.prune();
    expect(seqs(store.query({}).records)).toEqual([2]);
    expect(store.gaps()).toEqual([]);
  });

  test('over the size limit the oldest go, a piece at a time, until the rest fits', () => {
    const store = openStore({ keepBytes: 2_000_000 });
    for (let i = 0; i < 6; i++)
      store.add(
        'i-1',
        Array.from({ length: 1_000 }, (_, n) => sentRecord(i * 1_000 + n + 1)),
      );
    let pieces = 1;
    while (store.prune()) pieces++;
    const left = store.query({ limit: 10_000 }).records;
    expect(pieces).toBeGreaterThan(1);
    expect(left.at(-1)!.seq).toBe(6_000);
    expect(left.length).toBeLessThan(4_000);
  });

  test('over the size limit the instance that has most loses first: what one makes up never pushes out the records of others', () => {
    const store = openStore({ keepBytes: 2_000_000 });
    const others = ['i-1', 'i-2', 'i-3'];
    for (const instance of others)
      store.add(
        instance,
        Array.from({ length: 200 }, (_, n) => sentRecord(n + 1, { instance })),
      );
    for (let i = 0; i < 20; i++) {
      store.add(
        'i-4',
        Array.from({ length: 1_000 }, (_, n) => sentRecord(i * 1_000 + n + 1, { instance: 'i-4' })),
      );
      for (let more = true; more; ) more = store.prune();
    }
    for (let more = true; more; ) more = store.prune();
    const left = store.query({ limit: 10_000 }).records;
    for (const instance of others) expect(left.filter((record) => record.instance === instance)).toHaveLength(200);
    const own = left.filter((record) => record.instance === 'i-4');
    expect(own.at(-1)!.seq).toBe(20_000);
    expect(own.length).toBeLessThan(4_000);
  });

  test('pruning runs by itself while records come in', () => {
    const clock = createClock();
    const store = openStore({ clock, keepMs: 1_000 });
    store.add('i-1', sent(1));
    clock.advance(60_000);
    store.add('i-1', sent(2));
    expect(seqs(store.query({}).records)).toEqual([2]);
  });
});

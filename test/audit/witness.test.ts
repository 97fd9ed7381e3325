// The witness of proxies' logs: a checkpoint that continues the one before is cosigned; everything else is an alarm that stays.
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { expect, onTestFinished, test } from 'vitest';
import { openRecordStore, parseVerifierKey } from '#audit';
import { cosignedAt, signCheckpoint } from '../../audit/merkle/checkpoint.ts';
import { leafHash, perfectRoot } from '../../audit/merkle/hash.ts';
import { formatVerifierKey, rawPublicKey } from '../../audit/merkle/note.ts';
import { proveConsistency, treeRoot } from '../../audit/merkle/tree.ts';
import type { Alarm } from '../../audit/witness.ts';
import { createClock } from '../helpers/clock.ts';

const from = { instance: 'i-1', service: 'spiffe://example.org/payments' };
const origin = 'example.org/payments/i-1';

function setUp() {
  const clock = createClock();
  const alarms: Alarm[] = [];
  const store = openRecordStore({ path: ':memory:', clock, onAlarm: (alarm) => alarms.push(alarm) });
  onTestFinished(() => store.close());
  return { clock, alarms, witness: store.witness };
}

/** A log that can be told what its entries are. */
function createFakeLog(key: KeyObject = generateKeyPairSync('ed25519').privateKey, name = origin) {
  const treeOf = (entries: readonly string[]) => {
    const leaves = entries.map((entry) => leafHash(Buffer.from(entry)));
    return (level: number, index: number) => perfectRoot(leaves, index * 2 ** level, 2 ** level);
  };
  return {
    key,
    request(entries: readonly string[], proofFrom: number) {
      const hashAt = treeOf(entries);
      const size = entries.length;
      const proof = proofFrom <= size ? proveConsistency({ from: proofFrom, to: size }, hashAt) : [];
      return {
        version: 1,
        verifierKey: formatVerifierKey({ name, kind: 1, publicKey: rawPublicKey(key) }),
        checkpoint: signCheckpoint({ origin: name, size, root: treeRoot(size, hashAt) }, key),
        from: proofFrom,
        proof: proof.map((hash) => Buffer.from(hash).toString('base64')),
      } as const;
    },
  };
}

const entries = Array.from({ length: 40 }, (_, index) => `entry ${index}`);

test('a log that only grows is cosigned each time, and the newest checkpoint is kept with the cosignature', () => {
  const { witness, alarms, clock } = setUp();
  const log = createFakeLog();
  let last = 0;
  for (const size of [1, 2, 7, 8, 8, 33, 40]) {
    const request = log.request(entries.slice(0, size), last);
    const reply = witness.add(from, request);
    expect(reply).toMatchObject({ outcome: 'cosigned', size });
    const key = parseVerifierKey(witness.verifierKey)!;
    expect(cosignedAt(request.checkpoint + reply.cosignature!, key)).toBe(Math.floor(clock.now() / 1_000));
    last = size;
  }
  expect(witness.logs()).toMatchObject([{ instance: 'i-1', origin, size: 40 }]);
  expect(witness.logs()[0]).not.toHaveProperty('alarm');
  expect(alarms).toEqual([]);
});

test('a proof from another size than the newest is asked for again, from there', () => {
  const { witness, alarms } = setUp();
  const log = createFakeLog();
  witness.add(from, log.request(entries.slice(0, 9), 0));
  expect(witness.add(from, log.request(entries.slice(0, 20), 0))).toEqual({ outcome: 'behind', size: 9 });
  expect(witness.add(from, log.request(entries.slice(0, 20), 9))).toMatchObject({ outcome: 'cosigned' });
  expect(alarms).toEqual([]);
});

test.each([
  [
    'L1: a record edited in the past',
    'AUDIT_LOG_FORKED',
    (log: ReturnType<typeof createFakeLog>) => log.request(entries.with(3, 'edited'), 20),
  ],
  [
    'L1: a record edited at the same size',
    'AUDIT_LOG_FORKED',
    (log: ReturnType<typeof createFakeLog>) => log.request(entries.slice(0, 20).with(19, 'x'), 20),
  ],
  [
    'L2: a tail cut',
    'AUDIT_LOG_ROLLED_BACK',
    (log: ReturnType<typeof createFakeLog>) => log.request(entries.slice(0, 12), 12),
  ],
  [
    'L2: an older copy that went on by itself',
    'AUDIT_LOG_FORKED',
    (log: ReturnType<typeof createFakeLog>) =>
      log.request([...entries.slice(0, 12), ...entries.slice(12).map((entry) => `${entry}!`)], 20),
  ],
  ['L3: another key', 'AUDIT_LOG_KEY_CHANGED', () => createFakeLog().request(entries, 20)],
])('%s is an alarm, told once, and nothing of it is cosigned', (_, code, make) => {
  const { witness, alarms } = setUp();
  const log = createFakeLog();
  witness.add(from, log.request(entries.slice(0, 20), 0));
  for (let times = 0; times < 2; times++)
    expect(() => witness.add(from, make(log))).toThrow(expect.objectContaining({ code, status: 409 }));
  expect(alarms).toMatchObject([{ instance: 'i-1', code }]);
  expect(witness.logs()).toMatchObject([{ size: 20, alarm: code }]);
});

test('a log that began anew is an alarm with its old checkpoint as evidence, and is witnessed from there', () => {
  const { witness, alarms } = setUp();
  const log = createFakeLog();
  witness.add(from, log.request(entries, 0));
  const again = createFakeLog(log.key, `${origin}/2`);
  expect(witness.add(from, again.request(entries.slice(0, 3), 0))).toMatchObject({ outcome: 'cosigned', size: 3 });
  expect(alarms).toMatchObject([{ code: 'AUDIT_LOG_REPLACED' }]);
  expect(witness.logs()).toMatchObject([{ origin: `${origin}/2`, size: 3, alarm: 'AUDIT_LOG_REPLACED' }]);
  expect(witness.acknowledge('i-1')).toBe(true);
  expect(witness.acknowledge('i-1')).toBe(false);
});

test.each([
  ['of another instance', 'example.org/payments/i-2'],
  ['of another service', 'example.org/checkout/i-1'],
  ['with something behind the instance', 'example.org/payments/i-1/x'],
])('a checkpoint %s is refused and leaves no trace', (_, name) => {
  const { witness, alarms } = setUp();
  const request = createFakeLog(undefined, name).request(entries, 0);
  expect(() => witness.add(from, request)).toThrow(expect.objectContaining({ code: 'AUDIT_CHECKPOINT_INVALID' }));
  expect([witness.logs(), alarms]).toEqual([[], []]);
});

test('a log that falls silent while its proxy is there is an alarm, which goes when it speaks again', () => {
  const { witness, alarms, clock } = setUp();
  const log = createFakeLog();
  witness.add(from, log.request(entries.slice(0, 5), 0));
  clock.advance(1_000);
  witness.watch({ silentMs: 900_000, isAlive: () => true });
  expect(alarms).toEqual([]);
  clock.advance(900_000);
  witness.watch({ silentMs: 900_000, isAlive: () => false });
  expect(alarms).toEqual([]);
  witness.watch({ silentMs: 900_000, isAlive: () => true });
  witness.watch({ silentMs: 900_000, isAlive: () => true });
  expect(alarms).toMatchObject([{ code: 'AUDIT_LOG_SILENT' }]);
  witness.add(from, log.request(entries.slice(0, 6), 5));
  expect(witness.logs()[0]).not.toHaveProperty('alarm');
});

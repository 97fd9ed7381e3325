// A log whose power is cut, whose process is killed and whose disk fails, at random moments: what was said to be durable is there, the log verifies,
// nobody is accused, and every hole is declared. Other moments, and more: POWER_CUTS=5000 SEED=7 npx vitest run test/audit/power-cut.test.ts
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createRecordLog, type RecordLog } from '#audit';
import { type Fields, type Log, silentLog } from '#base/log';
import type { DecisionRecord } from '#wire';
import { verifyLog } from '../../audit/verify-log.ts';
import { createClock } from '../helpers/clock.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { logKeyOf } from '../helpers/log-folder.ts';
import { type Recording, recordChanges, writeLeft } from '../helpers/power-cut.ts';
import { recordOf } from '../helpers/record.ts';

const cuts = Number(process.env.POWER_CUTS ?? 120);
const seed = Number(process.env.SEED ?? 1);
const origin = 'example.org/payments/i-1';

/** What the world outside of the log knows, each with how many changes to the disk there were before it knew. */
type Known = { readonly at: number } & (
  | { readonly what: 'durable' | 'received'; readonly records: readonly DecisionRecord[] }
  | { readonly what: 'dropped'; readonly from: number; readonly count: number }
);
interface World {
  readonly durable: ReadonlyMap<number, DecisionRecord>;
  readonly received: ReadonlyMap<number, DecisionRecord>;
  readonly dropped: ReadonlySet<number>;
}
/** `accusations`: what a log says when it believes that somebody changed its files. */
interface Life {
  readonly folder: string;
  readonly random: () => number;
  readonly recording: Recording;
  readonly known: Known[];
  readonly accusations: string[];
}

let ids = 0;
const record = () => recordOf({ id: `d-${++ids}`, path: `/${ids}` });

test(`${cuts} times the power is cut`, { timeout: 60_000 + 1_000 * cuts }, async () => {
  const root = temporaryFolder();
  const faults: string[] = [];
  for (let [chain, done] = [seed, 0]; done < cuts; chain++) {
    const random = createRandom(chain);
    let world: World = { durable: new Map(), received: new Map(), dropped: new Set() };
    let folder: string | undefined = join(root, `${chain}`);
    writeLeft(folder, new Map());
    for (let round = 1; folder && round <= 4; round++) {
      const life: Life = { folder, random, recording: recordChanges(folder), known: [], accusations: [] };
      try {
        await live(life);
      } finally {
        life.recording.stop();
      }
      for (const accusation of life.accusations) faults.push(`chain ${chain}, round ${round}: ${accusation}`);
      rmSync(folder, { recursive: true });
      folder = undefined;
      for (let cut = 0; cut < 6; cut++, done++) {
        const at = Math.floor(random() * (life.recording.length + 1));
        const left = life.recording.leftAt(at, random);
        const copy = join(root, `${chain}-${round}-${cut}`);
        writeLeft(copy, left);
        const known = learn(world, life.known, at);
        for (const fault of await faultsOf(copy, known))
          faults.push(`chain ${chain}, round ${round}, cut at change ${at} of ${life.recording.length}: ${fault}`);
        rmSync(copy, { recursive: true });
        if (cut < 5) continue;
        writeLeft(copy, left);
        [folder, world] = [copy, known];
      }
    }
    if (folder) rmSync(folder, { recursive: true });
  }
  expect(faults).toEqual([]);
});

/** Some processes, one after the other; most of them are killed. */
async function live(life: Life): Promise<void> {
  const { random, recording } = life;
  const processes = 1 + Math.floor(random() * 3);
  for (let n = 0; n < processes; n++) {
    await runProcess(life);
    recording.fails = () => false;
    recording.diesAt = recording.length;
    await settled();
    recording.diesAt = Number.POSITIVE_INFINITY;
  }
}

async function runProcess({ folder, random, recording, known, accusations }: Life): Promise<void> {
  const any = <T>(...of: readonly T[]): T => of[Math.floor(random() * of.length)]!;
  const isDead = (): boolean => recording.length >= recording.diesAt;
  const ifDead = (thrown: unknown): void => {
    if (!isDead()) throw thrown;
  };
  const clock = createClock(Date.now() + any(0, 0, -1, 1) * 3_600_000);
  const log = createEar(({ message, code, from, count }) => {
    if (isDead()) return;
    if (code === 'AUDIT_RETENTION') known.push({ at: recording.length, what: 'dropped', from, count });
    if (isAccusation(message, code)) accusations.push(message);
  });
  const records = createRecordLog({
    ...{ folder, clock, log, writer: 'this-thread', origin },
    maxBytes: any(300_000, 700_000, 700_000, 2_000_000),
    maxAgeMs: any(1_000, 30 * 86_400_000),
  });
  let seen = 0;
  const hear = async (): Promise<void> => {
    const at = recording.length;
    if (isDead()) return;
    const found = (await readAll(records, seen + 1)).filter(({ seq }) => seq > seen);
    seen = found.at(-1)?.seq ?? seen;
    known.push({ at, what: 'durable', records: found });
  };
  const receive = async (): Promise<void> => {
    const found = (await readAll(records)).slice(0, Math.floor(random() * 2_000));
    if (found.length === 0) return;
    known.push({ at: recording.length, what: 'received', records: found });
    records.release(found.at(-1)!.seq);
  };
  const append = (most: number): void => {
    for (let n = Math.floor(random() * most); n > 0; n--) records.append(record());
  };
  records.onAppend(() => void hear());
  await hear();
  const isFlaky = random() < 0.3;
  for (let steps = 5 + random() * 25; steps > 0 && !isDead(); steps--) {
    if (isFlaky) {
      const often = any(0, 0, 0.02, 0.2);
      recording.fails = () => random() < often;
    }
    await any(
      () => append(any(5, 300)),
      () => append(any(5, 300)),
      () => append(1_500),
      () => clock.advance(60),
      () => clock.advance(60),
      () => records.flush().catch(ifDead),
      () => records.sign().catch(ifDead),
      receive,
      () => clock.advance(61_000),
      () => clock.step(any(-1, 1) * any(1_000, 50_000, 86_400_000)),
    )();
    await settled();
    if (random() < 0.03) recording.diesAt = Math.min(recording.diesAt, recording.length + Math.floor(random() * 60));
  }
  recording.fails = () => false;
  if (!isDead() && random() < 0.4) await records.close().catch(ifDead);
}

/** What is wrong with a log once its power is back. */
async function faultsOf(folder: string, world: World): Promise<string[]> {
  const faults: string[] = [];
  const log = createEar(({ message, code }) => {
    if (isAccusation(message, code)) faults.push(message);
  });
  const records = createRecordLog({ folder, clock: createClock(), log, writer: 'this-thread', origin, maxBytes: 1e9 });
  const there = new Map((await readAll(records)).map((each) => [each.seq, each]));
  for (const { seq } of world.durable.values())
    if (!there.has(seq) && !world.received.has(seq) && !world.dropped.has(seq)) faults.push(`durable ${seq} is gone`);
  for (const { seq, id } of there.values()) {
    const known = world.durable.get(seq) ?? world.received.get(seq);
    if (known && known.id !== id) faults.push(`${seq} is ${id} and was ${known.id}`);
  }
  for (let n = 0; n < 2; n++) {
    records.append(record());
    await records.flush();
  }
  // What the control plane has, and will get.
  const sent = [...world.received.values(), ...there.values(), ...(await readAll(records, records.lastSeq - 9))];
  const accounted = new Set(sent.map(({ seq }) => seq));
  for (const { kind, lost = 0, lostFrom = 0 } of sent)
    if (kind === 'gap') for (let n = 0; n < lost; n++) accounted.add(lostFrom + n);
  for (let seq = 1; seq <= records.lastSeq; seq++) if (!accounted.has(seq)) faults.push(`nothing declares ${seq}`);
  await records.close();
  faults.push(...verifyLog({ folder, key: logKeyOf(folder) }).faults.map((fault) => JSON.stringify(fault)));
  return faults.slice(0, 3);
}

function learn(world: World, known: readonly Known[], at: number): World {
  const next = {
    durable: new Map(world.durable),
    received: new Map(world.received),
    dropped: new Set(world.dropped),
  };
  for (const each of known) {
    if (each.at > at) continue;
    if (each.what === 'dropped') for (let n = 0; n < each.count; n++) next.dropped.add(each.from + n);
    else for (const found of each.records) next[each.what].set(found.seq, found);
  }
  return next;
}

function isAccusation(message: string, code: string | undefined): boolean {
  return code === 'AUDIT_FILE_DAMAGED' || /not as it was|somebody/.test(message);
}

function createEar(hear: (heard: { message: string; code?: string; from: number; count: number }) => void): Log {
  const note = (message: string, fields: Fields = {}): void =>
    hear({ message, ...(fields as { code?: string; from: number; count: number }) });
  return { ...silentLog, warn: note, error: note };
}

async function readAll(log: RecordLog, from = 1): Promise<DecisionRecord[]> {
  const found: DecisionRecord[] = [];
  for (;;) {
    const part = await log.read((found.at(-1)?.seq ?? from - 1) + 1, 10_000);
    if (part.length === 0) return found;
    found.push(...part);
  }
}

async function settled(): Promise<void> {
  for (let n = 0; n < 3; n++) await new Promise(setImmediate);
}

/** The same numbers from 0 to 1 for the same start. */
function createRandom(start: number): () => number {
  let state = start >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

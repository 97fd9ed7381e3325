// A snapshot of 100 000 rules on its way into a proxy: from the bytes of its line to the policy in force and the file on the disk, and how long any turn of the
// event loop took meanwhile. A probe looks at each turn by the CPU of the thread, which is what Postern answers for, and by the wall, where whatever else runs
// on the machine counts too; run idle before, it shows what that adds.
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { buildProgram, compileProgram, type Program } from '#policy';
import type { Snapshot } from '#wire';
import { createLargeSnapshots } from '../proxy/agent/large-snapshot.ts';
import { type Bench, threadCpuMs } from './bench.ts';
import { benchTo, rulesOf } from './rules.ts';

const size = 100_000;
const rounds = 3;
const idleMs = 2_000;
const pace = { monotonic: () => performance.now(), pause: () => nextTurn() };

export async function run(): Promise<Bench> {
  const folder = mkdtempSync(join(tmpdir(), 'postern-bench-'));
  try {
    // Made once and before everything else: what it leaves behind is not of a proxy.
    const line = lineOf(1);
    const bytes = line.length;
    const idle = await probed(() => new Promise((resolve) => setTimeout(resolve, idleMs)));
    const runs: Awaited<ReturnType<typeof takeOne>>[] = [];
    for (let round = 0; round < rounds; round++) runs.push(await takeOne(join(folder, 'snapshot.json'), line));
    // A bar on the longest turn is for every round: one that was lucky shows nothing.
    const worst = (of: (one: (typeof runs)[number]) => number): number => Math.max(...runs.map(of));
    const held = { wallMs: worst((one) => one.held.wallMs), cpuMs: worst((one) => one.held.cpuMs) };
    const [buildMs, readMs, keepMs] = [
      worst((one) => one.buildMs),
      worst((one) => one.readMs),
      worst((one) => one.keepMs),
    ];
    const megabytes = (bytes / 1e6).toFixed(0);
    return {
      title: 'A large snapshot',
      how: `${size.toLocaleString('en')} rules, ${megabytes} MB as they come: read, checked and kept by a thread, built in turns, put in the place of the one before. The longest turn of the event loop by the CPU of its thread, which the bar is on, and by the wall, the worst of ${rounds} rounds; the machine is shared, and the same probe beside nothing at all for ${idleMs / 1_000} s says what it adds to the wall.`,
      figures: [
        { what: 'the probe alone: longest turn', measured: `${shown(idle.held)}` },
        {
          what: 'read, checked, built, kept: longest turn',
          measured: shown(held),
          bar: 'at most 20 ms of CPU',
          holds: held.cpuMs <= 20,
        },
        {
          what: 'built and swapped',
          measured: `${buildMs.toFixed(0)} ms, ${worst((one) => one.buildCpuMs).toFixed(0)} ms of CPU`,
          bar: 'at most 1 s',
          holds: buildMs <= 1_000,
        },
        { what: 'read and checked / kept', measured: `${readMs.toFixed(0)} / ${keepMs.toFixed(0)} ms` },
        { what: 'the same at once: longest turn', measured: shown(await atOnce(line)) },
      ],
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Held {
  readonly wallMs: number;
  readonly cpuMs: number;
}

const shown = ({ wallMs, cpuMs }: Held): string => `${cpuMs.toFixed(1)} ms of CPU, ${wallMs.toFixed(1)} ms by the wall`;

/** The program in force: the one before is let go in the midst of a round, as in a proxy. */
let inForce: Program | undefined;

async function takeOne(path: string, line: Uint8Array) {
  const received = new Uint8Array(line);
  const large = createLargeSnapshots();
  const marks: { readonly at: number; readonly cpu: number }[] = [];
  const mark = (): void => void marks.push({ at: performance.now(), cpu: threadCpuMs() });
  const { held } = await probed(async () => {
    mark();
    const { event, problems } = await large.read(received);
    if (problems?.length !== 0) throw new Error('the snapshot is not valid');
    const { snapshot } = event as { snapshot: Snapshot };
    mark();
    inForce = await buildProgram(snapshot.policy, pace);
    if (inForce.revision !== snapshot.policy.revision) throw new Error('another policy was built');
    mark();
    await large.write(path, snapshot);
    mark();
  });
  if (statSync(path).size < line.length / 2) throw new Error('the snapshot was not kept');
  const [begun, read, built, kept] = marks as [
    (typeof marks)[0],
    (typeof marks)[0],
    (typeof marks)[0],
    (typeof marks)[0],
  ];
  return {
    ...{ readMs: read.at - begun.at, keepMs: kept.at - built.at, held },
    ...{ buildMs: built.at - read.at, buildCpuMs: built.cpu - read.cpu },
  };
}

/** What a small one gets: everything in one turn. */
async function atOnce(line: Uint8Array): Promise<Held> {
  const { held } = await probed(async () => {
    const { snapshot } = JSON.parse(Buffer.from(line).toString()) as { snapshot: Snapshot };
    compileProgram(snapshot.policy);
    createHash('sha256').update(JSON.stringify(snapshot)).digest();
  });
  return held;
}

function lineOf(revision: number): Uint8Array<ArrayBuffer> {
  const snapshot: Snapshot = {
    ...{ version: 1, revision, service: benchTo, bundle: '{"keys":[]}', bans: { ids: [], serials: [] } },
    ...{ policy: { ...rulesOf(size), revision }, services: [] },
  };
  return new TextEncoder().encode(JSON.stringify({ type: 'snapshot', snapshot }));
}

/** Every turn of the event loop while `work` runs: the probe is in each of them, and sees what the others took. */
async function probed(work: () => Promise<unknown>): Promise<{ readonly held: Held }> {
  const held = { wallMs: 0, cpuMs: 0 };
  let isOver = false;
  const probe = async (): Promise<void> => {
    await nextTurn();
    for (let [wall, cpu] = [performance.now(), threadCpuMs()]; !isOver; ) {
      await nextTurn();
      held.wallMs = Math.max(held.wallMs, performance.now() - wall);
      held.cpuMs = Math.max(held.cpuMs, threadCpuMs() - cpu);
      [wall, cpu] = [performance.now(), threadCpuMs()];
    }
  };
  const probing = probe();
  await nextTurn();
  await work();
  await nextTurn();
  isOver = true;
  await probing;
  return { held };
}

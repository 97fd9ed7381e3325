// A snapshot of 100 000 rules on its way into a proxy: from the bytes of its line to the policy in force and the file on the disk, and how long any turn of the
// event loop took meanwhile. A probe looks at each turn by the wall and by the CPU of the thread; run idle before, it shows what the machine adds.
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { buildProgram, compileProgram } from '#policy';
import type { Snapshot } from '#wire';
import { createLargeSnapshots } from '../proxy/agent/large-snapshot.ts';
import type { Bench } from './bench.ts';
import { benchTo, rulesOf } from './rules.ts';

const size = 100_000;
const rounds = 3;
const idleMs = 2_000;
const pace = { monotonic: () => performance.now(), pause: () => nextTurn() };

export async function run(): Promise<Bench> {
  const folder = mkdtempSync(join(tmpdir(), 'postern-bench-'));
  try {
    const idle = await probed(() => new Promise((resolve) => setTimeout(resolve, idleMs)));
    const runs: Awaited<ReturnType<typeof takeOne>>[] = [];
    for (let round = 0; round < rounds; round++) runs.push(await takeOne(join(folder, 'snapshot.json'), round));
    // A bar on the longest turn is for every round: one that was lucky shows nothing.
    const worst = (of: (one: (typeof runs)[number]) => number): number => Math.max(...runs.map(of));
    const held = { wallMs: worst((one) => one.held.wallMs), cpuMs: worst((one) => one.held.cpuMs) };
    const [buildMs, readMs, keepMs] = [
      worst((one) => one.buildMs),
      worst((one) => one.readMs),
      worst((one) => one.keepMs),
    ];
    const bytes = worst((one) => one.bytes);
    const megabytes = (bytes / 1e6).toFixed(0);
    return {
      title: 'A large snapshot',
      how: `${size.toLocaleString('en')} rules, ${megabytes} MB as they come: read, checked and kept by a thread, brought over and built in turns. The longest turn of the event loop by the wall and by the CPU of its thread, the worst of ${rounds} rounds; the machine is shared, and the same probe beside nothing at all for ${idleMs / 1_000} s says what it adds.`,
      figures: [
        { what: 'the probe alone: longest turn', measured: `${shown(idle.held)}` },
        {
          what: 'read, checked, built, kept: longest turn',
          measured: shown(held),
          bar: 'at most 20 ms',
          holds: held.cpuMs <= 20 && held.wallMs <= 20,
        },
        {
          what: 'built and swapped',
          measured: `${buildMs.toFixed(0)} ms`,
          bar: 'at most 1 s',
          holds: buildMs <= 1_000,
        },
        { what: 'read and checked / kept', measured: `${readMs.toFixed(0)} / ${keepMs.toFixed(0)} ms` },
        { what: 'the same at once: longest turn', measured: shown(await atOnce()) },
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

const shown = ({ wallMs, cpuMs }: Held): string => `${wallMs.toFixed(1)} ms by the wall, ${cpuMs.toFixed(1)} ms of CPU`;

async function takeOne(path: string, round: number) {
  const line = lineOf(round + 1);
  const bytes = line.length;
  const large = createLargeSnapshots();
  const marks = [performance.now()];
  const { held } = await probed(async () => {
    const { event, problems } = await large.read(line);
    if (problems?.length !== 0) throw new Error('the snapshot is not valid');
    const { snapshot } = event as { snapshot: Snapshot };
    marks.push(performance.now());
    const program = await buildProgram(snapshot.policy, pace);
    if (program.revision !== snapshot.policy.revision) throw new Error('another policy was built');
    marks.push(performance.now());
    await large.write(path, snapshot);
    marks.push(performance.now());
  });
  if (statSync(path).size < bytes / 2) throw new Error('the snapshot was not kept');
  const [begun, read, built, kept] = marks as [number, number, number, number];
  return { bytes, readMs: read - begun, buildMs: built - read, keepMs: kept - built, held };
}

/** What a small one gets: everything in one turn. */
async function atOnce(): Promise<Held> {
  const line = lineOf(1);
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
    for (let [wall, cpu] = [performance.now(), process.threadCpuUsage()]; !isOver; ) {
      await nextTurn();
      const { user, system } = process.threadCpuUsage(cpu);
      held.wallMs = Math.max(held.wallMs, performance.now() - wall);
      held.cpuMs = Math.max(held.cpuMs, (user + system) / 1_000);
      [wall, cpu] = [performance.now(), process.threadCpuUsage()];
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

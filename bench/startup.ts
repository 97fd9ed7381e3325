// How long the processes take from exec until they serve, and what an idle one weighs. Medians of several starts, compile cache warm.
import { setTimeout as wait } from 'node:timers/promises';
import { startPostern } from '../cli/demo/processes.ts';
import { type Bench, type Figure, quantile, residentMb } from './bench.ts';
import { startMesh } from './mesh.ts';

const starts = 7;

export async function run(): Promise<Bench> {
  const mesh = await startMesh();
  try {
    const serverMs: number[] = [];
    const enrolMs: number[] = [];
    const restartMs: number[] = [];
    const idleMb: number[] = [];
    for (let round = 0; round < starts; round++) {
      await mesh.server.stop();
      await mesh.startServer();
      serverMs.push(mesh.server.readyMs);
    }
    for (let round = 0; round < starts; round++) {
      const member = await mesh.join('web');
      enrolMs.push(member.sidecar.readyMs);
      await member.sidecar.stop();
      member.sidecar = await startPostern(member.words);
      restartMs.push(member.sidecar.readyMs);
      await wait(3_000);
      idleMb.push(residentMb(member.sidecar.pid));
      await member.sidecar.stop();
    }
    return {
      title: 'Start and size',
      how: `Medians of ${starts} starts of real processes, from exec to the line that says ready; resident size (VmRSS) of a sidecar idle for 3 s.`,
      figures: [
        figure('server ready', serverMs, { most: 1_000, unit: 'ms' }),
        figure('sidecar ready, with enrolment', enrolMs, { most: 600, unit: 'ms' }),
        figure('sidecar ready, restart from disk', restartMs, { most: 600, unit: 'ms' }),
        figure('sidecar resident, idle', idleMb, { most: 80, unit: 'MB' }),
      ],
    };
  } finally {
    await mesh.close();
  }
}

function figure(what: string, samples: readonly number[], { most, unit }: { most: number; unit: string }): Figure {
  const value = quantile(samples, 0.5);
  return { what, measured: `${value.toFixed(0)} ${unit}`, bar: `at most ${most} ${unit}`, holds: value <= most };
}

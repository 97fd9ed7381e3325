// What deciding and recording add to a request on each hop: a pair of proxies as they are, beside a pair with one rule for everything that records nothing.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Bench, quantile } from './bench.ts';
import { runWrk } from './load/wrk.ts';
import { startNginxApp } from './peers/nginx.ts';
import { createPosternMesh } from './peers/postern.ts';
import { freePorts, type Measured } from './peers/processes.ts';

const rounds = 9;
const seconds = 2;
const connections = 64;
const most = 12;

export async function run(): Promise<Bench> {
  const folder = mkdtempSync(join(tmpdir(), 'postern-bench-'));
  const started: Measured[] = [];
  const mesh = await createPosternMesh(join(folder, 'mesh'));
  const pair = async (appPort: number, isBare: boolean) => {
    const called = await mesh.start('payments', appPort, { isBare });
    const calling = await mesh.start('web', called.port, { isBare });
    started.push(called, calling);
    return { port: calling.port, cpu: () => called.cpu() + calling.cpu(), micros: [] as number[] };
  };
  try {
    const [appPort] = (await freePorts(1)) as [number];
    started.push(await startNginxApp({ folder: join(folder, 'app'), port: appPort, files: folder }));
    const [whole, bare] = [await pair(appPort, false), await pair(appPort, true)];
    for (const { port } of [whole, bare]) await runWrk({ port, connections, seconds: 8 });
    for (let round = 0; round < rounds; round++)
      for (const one of round % 2 === 0 ? [whole, bare] : [bare, whole]) {
        const before = one.cpu();
        const { requests } = await runWrk({ port: one.port, connections, seconds });
        one.micros.push((one.cpu() - before) / requests);
      }
    const [all, rest] = [quantile(whole.micros, 0.5), quantile(bare.micros, 0.5)];
    const added = quantile(
      whole.micros.map((micros, round) => (micros - bare.micros[round]!) / 2),
      0.5,
    );
    return {
      title: 'Deciding and recording',
      how:
        `CPU of both proxies of a pair for a request, threads included, ${connections} connections, ${rounds} rounds of ${seconds} s of each pair in turn. One pair has 100 rules and the ` +
        'signed decision log; the other has one rule for everything and records nothing. What is added is the median of the differences of the rounds, for each of the two hops.',
      figures: [
        { what: 'a request over two hops, decided by 100 rules and recorded', measured: `${all.toFixed(1)} us` },
        { what: 'the same with one rule and no record', measured: `${rest.toFixed(1)} us` },
        {
          what: 'added on each hop',
          measured: `${added.toFixed(1)} us`,
          bar: `at most ${most} us`,
          holds: added <= most,
        },
      ],
    };
  } finally {
    await Promise.all(started.map((one) => one.stop()));
    mesh.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

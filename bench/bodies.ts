// CPU for each gigabyte of bodies over two hops, both ways, of the three pairs in turn.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Bench, type Figure, quantile } from './bench.ts';
import { runWrk, writeUploadScript } from './load/wrk.ts';
import { type Kind, kinds, type Pairs, startPairs } from './peers/pairs.ts';

const rounds = 3;
const seconds = 2;
const connections = 8;
const sizes = [65_536, 1_048_576];

export async function run(): Promise<Bench> {
  const folder = mkdtempSync(join(tmpdir(), 'postern-bodies-'));
  const figures: Figure[] = [];
  try {
    const downloads = await startPairs({ app: 'nginx', fileBytes: sizes });
    try {
      for (const bytes of sizes)
        figures.push(...(await measure(downloads, { way: 'download', bytes, path: `/files/${bytes}` })));
    } finally {
      await downloads.close();
    }
    const uploads = await startPairs({ app: 'sink' });
    try {
      for (const bytes of sizes)
        figures.push(...(await measure(uploads, { way: 'upload', bytes, script: writeUploadScript(folder, bytes) })));
    } finally {
      await uploads.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return {
    title: 'Bodies over two hops',
    how: `The pairs of the requests' benchmark, ${connections} connections, bodies of one size at a time (KB of 1 024 bytes), each ${rounds} rounds of ${seconds} s; medians of the CPU of both proxies for 10^9 bytes of body.`,
    figures,
  };
}

async function measure(
  { all }: Pairs,
  o: { way: 'download' | 'upload'; bytes: number; path?: string; script?: string },
): Promise<Figure[]> {
  const samples = new Map<Kind, number[]>(kinds.map((kind) => [kind, []]));
  const load = { connections, ...(o.path && { path: o.path }), ...(o.script && { script: o.script }) };
  for (const { port } of all) await runWrk({ ...load, port, seconds: 1 });
  for (let round = 0; round < rounds; round++)
    for (const { kind, port, cpu } of all) {
      const before = cpu();
      const { requests } = await runWrk({ ...load, port, seconds });
      samples.get(kind)!.push((cpu() - before) / 1_000 / ((requests * o.bytes) / 1e9));
    }
  const median = (kind: Kind): number => quantile(samples.get(kind)!, 0.5);
  const what = `${o.way}, bodies of ${o.bytes / 1_024} KB`;
  const against = (other: Kind, most: number): Figure => {
    const ratio = median('Postern') / median(other);
    return {
      what: `${what}: against ${other}`,
      measured: `${ratio.toFixed(2)} x`,
      bar: `at most ${most} x`,
      holds: ratio <= most,
    };
  };
  return [
    {
      what,
      measured: `${kinds.map((kind) => `${kind} ${median(kind).toFixed(0)}`).join(', ')} ms CPU a GB`,
    },
    against('nginx', 3),
    against('HAProxy', 0.8),
  ];
}

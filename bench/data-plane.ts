// CPU a request and latency over two hops (plain -> mTLS -> plain), of Postern, nginx and HAProxy pairs that are up at the same time and loaded in turn.
import type { Bench, Figure } from './bench.ts';
import { quantile } from './bench.ts';
import { runOpenLoad } from './load/open.ts';
import { runWrk, type WrkResult } from './load/wrk.ts';
import { type Kind, kinds, type Pairs, startPairs } from './peers/pairs.ts';

const rounds = 5;
const seconds = 2;
const perSecond = 1_000;

export async function run(): Promise<Bench> {
  const pairs = await startPairs({ app: 'nginx' });
  try {
    for (const { port } of pairs.all) await runWrk({ port, connections: 64, seconds: 8 });
    const figures: Figure[] = [];
    for (const connections of [1, 64, 256]) figures.push(...(await closedLoop(pairs, connections)));
    for (const connections of [2, 16, 64]) figures.push(...(await openLoop(pairs, connections)));
    return {
      title: 'Requests over two hops',
      how:
        'Plain HTTP to a first proxy, mutual TLS 1.3 to a second (HTTP/2 between the Postern and the HAProxy pair, HTTP/1.1 kept alive between the nginx pair), ' +
        'plain HTTP to one nginx as the application; 1 KB answers. Postern with 100 rules for the pair, the signed decision log and metrics; the others ' +
        'log nothing. One worker or thread each. CPU is user and system time of both proxies as the kernel accounts it, threads and children included. ' +
        `Closed loop by wrk, ${rounds} rounds of ${seconds} s of each pair in turn; open loop ${perSecond} requests a second, the same rounds. Medians over rounds.`,
      figures,
    };
  } finally {
    await pairs.close();
  }
}

async function closedLoop(pairs: Pairs, connections: number): Promise<Figure[]> {
  const samples = new Map<Kind, (WrkResult & { micros: number })[]>(kinds.map((kind) => [kind, []]));
  for (let round = 0; round < rounds; round++)
    for (const { kind, port, cpu } of inTurn(pairs, round)) {
      const before = cpu();
      const result = await runWrk({ port, connections, seconds });
      samples.get(kind)!.push({ ...result, micros: (cpu() - before) / result.requests });
    }
  const median = (kind: Kind, of: keyof WrkResult | 'micros'): number =>
    quantile(
      samples.get(kind)!.map((one) => one[of]),
      0.5,
    );
  const ratio = (other: Kind): number => median('Postern', 'micros') / median(other, 'micros');
  const what = (kind: Kind): string =>
    `${kind} pair, ${connections} ${connections === 1 ? 'connection' : 'connections'}`;
  const rows = kinds.map((kind) => ({
    what: what(kind),
    measured:
      `${median(kind, 'micros').toFixed(1)} us CPU a request, ${median(kind, 'perSecond').toFixed(0)} requests/s, ` +
      `p50 ${median(kind, 'p50').toFixed(2)}, p90 ${median(kind, 'p90').toFixed(2)}, p99 ${median(kind, 'p99').toFixed(2)} ms`,
  }));
  const mostNginx = connections === 1 ? 1.6 : 1.0;
  const bars: Figure[] = [
    {
      what: `${what('Postern')}: CPU against nginx`,
      measured: `${ratio('nginx').toFixed(2)} x`,
      bar: `at most ${mostNginx.toFixed(1)} x${connections === 1 ? '' : ', aim 0.6 x'}`,
      holds: ratio('nginx') <= mostNginx,
    },
    {
      what: `${what('Postern')}: CPU against HAProxy`,
      measured: `${ratio('HAProxy').toFixed(2)} x`,
      ...(connections > 1 && { bar: 'at most 1.6 x, aim 1.0 x', holds: ratio('HAProxy') <= 1.6 }),
    },
  ];
  return [...rows, ...bars];
}

async function openLoop(pairs: Pairs, connections: number): Promise<Figure[]> {
  const sorts = [...kinds, 'no proxy'] as const;
  const samples = new Map<string, { p50: number; p90: number; p99: number }[]>(sorts.map((sort) => [sort, []]));
  for (let round = 0; round < rounds; round++)
    for (const { kind, port } of [...inTurn(pairs, round), { kind: 'no proxy', port: pairs.appPort }])
      samples.get(kind)!.push(await runOpenLoad({ port, connections, perSecond, seconds: seconds + 1 }));
  const median = (sort: string, of: 'p50' | 'p90' | 'p99'): number =>
    quantile(
      samples.get(sort)!.map((one) => one[of]),
      0.5,
    );
  const added = (kind: Kind): number => Math.max(0, median(kind, 'p99') - median('no proxy', 'p99'));
  const ratio = added('Postern') / added('nginx');
  const rows = sorts.map((sort) => ({
    what: `${sort}, ${perSecond} requests/s over ${connections} connections`,
    measured: `p50 ${median(sort, 'p50').toFixed(2)}, p90 ${median(sort, 'p90').toFixed(2)}, p99 ${median(sort, 'p99').toFixed(2)} ms`,
  }));
  return [
    ...rows,
    {
      what: `added p99 over no proxy, ${connections} connections: Postern, nginx, HAProxy`,
      measured: `${kinds.map((kind) => `${added(kind).toFixed(2)} ms`).join(', ')}; ${ratio.toFixed(2)} x nginx`,
      ...(connections === 16 && { bar: 'at most 1.5 x nginx', holds: ratio <= 1.5 }),
    },
  ];
}

/** Nobody is always first: who runs after whom changes from round to round. */
function inTurn({ all }: Pairs, round: number): Pairs['all'] {
  return [...all.slice(round % all.length), ...all.slice(0, round % all.length)];
}

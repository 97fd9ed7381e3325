// Full TLS 1.3 handshakes with certificates both ways, as the inbound proxy sees them: CPU for each, against nginx.
import { readFileSync } from 'node:fs';
import { type Bench, type Figure, quantile } from './bench.ts';
import { runHandshakes } from './load/handshakes.ts';
import { type Pair, type Pairs, startPairs } from './peers/pairs.ts';

const rounds = 3;
const seconds = 3;

export async function run(): Promise<Bench> {
  const pairs = await startPairs({ app: 'nginx' });
  try {
    return {
      title: 'Handshakes',
      how: `New mutual TLS 1.3 connections to the inbound proxy, P-256 certificates, nothing resumed, each ended once it is made; ${rounds} rounds of ${seconds} s each in turn, medians. A core does as many a second as fit into its CPU time. Postern's chains hold one certificate more (two tiers). With the hybrid group, which this nginx does not know, the key exchange withstands quantum computers.`,
      figures: await measure(pairs),
    };
  } finally {
    await pairs.close();
  }
}

async function measure({ all, mesh, certificates: { root, web } }: Pairs): Promise<Figure[]> {
  const read = (path: string): string => readFileSync(path, 'utf8');
  const foreign = { key: read(web.key), cert: read(web.certificate), ca: read(root) };
  const own = mesh.clientOf('web');
  const micros = async (pair: Pair, groups: string): Promise<number> => {
    const before = pair.in.cpu();
    const client = pair.kind === 'Postern' ? own : foreign;
    const made = await runHandshakes({ port: pair.innerPort, client, seconds, groups });
    return (pair.in.cpu() - before) / made;
  };
  const plain: number[] = [];
  const hybrid: number[] = [];
  const nginx: number[] = [];
  const haproxy: number[] = [];
  for (let round = -1; round < rounds; round++)
    for (const pair of all) {
      const into = { Postern: plain, nginx, HAProxy: haproxy }[pair.kind];
      const cost = await micros(pair, 'X25519');
      const more = pair.kind === 'Postern' ? await micros(pair, 'X25519MLKEM768:X25519') : 0;
      // The first round warms up.
      if (round < 0) continue;
      into.push(cost);
      if (more > 0) hybrid.push(more);
    }
  const row = (what: string, samples: readonly number[]): Figure => {
    const median = quantile(samples, 0.5);
    return { what, measured: `${median.toFixed(0)} us CPU, ${(1e6 / median).toFixed(0)} a second on one core` };
  };
  const ratio = quantile(nginx, 0.5) / quantile(plain, 0.5);
  return [
    row('Postern, X25519', plain),
    row('Postern, X25519MLKEM768', hybrid),
    row('nginx, X25519', nginx),
    row('HAProxy, X25519', haproxy),
    {
      what: 'Postern: handshakes a second on one core against nginx, X25519',
      measured: `${ratio.toFixed(2)} x`,
      bar: 'at least 0.8 x',
      holds: ratio >= 0.8,
    },
  ];
}

// Steady load through two sidecars while the certificate authority rotates, and while it is gone. Not one request may fail.
// `node bench/endurance.ts [SECONDS]` runs both for that long; the test suite runs them for seconds.
import { setTimeout as wait } from 'node:timers/promises';
import type { CaStatus, DecisionRecord } from '#wire';
import { createCaller } from '../cli/demo/client.ts';
import { startPostern } from '../cli/demo/processes.ts';
import type { Bench, Figure } from './bench.ts';
import { type LoadResult, startLoad } from './load/steady.ts';
import { type Member, type Mesh, startMesh } from './mesh.ts';

const url = 'http://payments/charges';

const allowAll = `
kind: Policy
name: payments-access
to: payments
rules:
  - { id: web-may, effect: allow, from: [web] }
`;

export interface RotationRun {
  readonly load: LoadResult;
  readonly issuingRotations: number;
  readonly rootRotations: number;
  /** Rotations that went all the way: the old root is in no bundle any more. */
  readonly rootsRemoved: number;
  /** Failures of the calls that asked for a rotation. */
  readonly refused: readonly string[];
  /** When a request failed: what the sidecars warned of, and the connections that they refused. */
  readonly evidence: readonly string[];
}

/** Waits until the policy that was just applied is in force: a request sent before that is denied, and rightly so. */
async function untilAllowed(to: { readonly host: string; readonly port: number }): Promise<void> {
  const caller = createCaller(to);
  while ((await caller.call('GET', url)).status !== 200) await wait(20);
  caller.close();
}

/** Lives so short that a root can come and go within a minute. */
const shortLives = ['--svid-ttl', '8s', '--admin-ttl', '20s', '--backdate', '1s'];
const everyMs = 2_500;
/** The authority holds one more at most. */
const mostRoots = 6;
/** How much longer than asked for a run may take until its first old root is gone. */
const patienceMs = 60_000;

/**
 * Rotates every few seconds, the root and the issuing CA in turn, under load, for about `seconds`; then goes on with the load until a
 * root rotation has gone all the way.
 */
export async function rotateUnderLoad({ seconds }: { seconds: number }): Promise<RotationRun> {
  const mesh = await startMesh(shortLives);
  try {
    const members = [await mesh.join('web'), await mesh.join('payments')] as const;
    await mesh.apply(allowAll);
    const to = members[0].outbound();
    await untilAllowed(to);
    const load = startLoad({ to, url, perSecond: 100, connections: 8 });
    const refused: string[] = [];
    const roots = new Set<string>();
    const done = { issuingRotations: 0, rootRotations: 0, rootsRemoved: 0 };
    const end = performance.now() + seconds * 1_000;
    for (let turn = 0; ; turn++) {
      await wait(everyMs);
      const status = JSON.parse(await mesh.postern('ca', 'status', '-o', 'json')) as CaStatus;
      for (const { fingerprint } of status.roots) roots.add(fingerprint);
      done.rootsRemoved = roots.size - status.roots.length;
      const late = performance.now() - end;
      if (late > 0 && (done.rootsRemoved > 0 || late > patienceMs)) break;
      if (late > 0) continue;
      const isRoot = turn % 2 === 0 && status.rootRotation.phase !== 'prepared' && status.roots.length < mostRoots;
      await mesh.postern('ca', 'rotate', ...(isRoot ? ['--root'] : [])).then(
        () => (isRoot ? done.rootRotations++ : done.issuingRotations++),
        (thrown: Error) => refused.push(thrown.message),
      );
    }
    const result = await load.stop();
    const evidence = result.failures.length === 0 ? [] : await evidenceOf(mesh, members);
    return { load: result, ...done, refused, evidence };
  } finally {
    await mesh.close();
  }
}

async function evidenceOf(mesh: Mesh, members: readonly Member[]): Promise<string[]> {
  const query = ['audit', 'query', '--decision', 'error', '--limit', '200', '-o', 'json'];
  const { records } = JSON.parse(await mesh.postern(...query)) as { records: DecisionRecord[] };
  const warnings = members.flatMap(({ name, sidecar }) =>
    sidecar
      .log()
      .split('\n')
      .filter((line) => /"level":"(warn|error)"/.test(line))
      .map((line) => `${name}: ${line}`),
  );
  return [
    ...warnings.slice(-100),
    ...records.map(({ time, service, hop, kind, reason, peer }) => [time, service, hop, kind, reason, peer].join(' ')),
  ];
}

export interface OutageRun {
  readonly load: LoadResult;
  /** Sidecars restarted while the control plane was away. */
  readonly restarts: number;
}

/** Stops the control plane for a third of a certificate life under load, which is less than what is left of any; each of two payments sidecars restarts meanwhile. */
export async function outageUnderLoad({ svidTtlSeconds }: { svidTtlSeconds: number }): Promise<OutageRun> {
  const mesh = await startMesh(['--svid-ttl', `${svidTtlSeconds}s`]);
  try {
    const web = await mesh.join('web');
    const payments = [await mesh.join('payments'), await mesh.join('payments')];
    await mesh.apply(allowAll);
    await untilAllowed(web.outbound());
    const load = startLoad({ to: web.outbound(), url, perSecond: 100, connections: 8 });
    await wait(1_000);
    await mesh.server.stop();
    const back = performance.now() + (svidTtlSeconds * 1_000) / 3;
    for (const member of payments) {
      await wait(500);
      const { inbound } = member.sidecar.ready;
      await member.sidecar.stop();
      member.sidecar = await startPostern([...member.words, '--inbound', inbound]);
    }
    await wait(Math.max(0, back - performance.now()));
    await mesh.startServer();
    await wait(svidTtlSeconds * 700);
    return { load: await load.stop(), restarts: payments.length };
  } finally {
    await mesh.close();
  }
}

/** One minute of rotations and one outage, for the page of benchmarks. */
export async function run(): Promise<Bench> {
  const rotation = await rotateUnderLoad({ seconds: 60 });
  const outage = await outageUnderLoad({ svidTtlSeconds: 30 });
  const figure = (what: string, { sent, ok }: LoadResult): Figure => ({
    what,
    measured: `${sent} requests, ${sent - ok} failed`,
    bar: 'none failed',
    holds: sent === ok && sent > 0,
  });
  return {
    title: 'Endurance',
    how: 'Real processes, 100 requests a second over 8 connections through two sidecars, certificates that live for 8 s (rotations) and 30 s (outage). `node bench/endurance.ts 300` runs the same for five minutes.',
    figures: [
      figure(
        `${rotation.rootRotations} root rotations (${rotation.rootsRemoved} to the end) and ${rotation.issuingRotations} of the issuing CA`,
        rotation.load,
      ),
      figure(
        `control plane away for a third of a certificate life, ${outage.restarts} sidecars restarted meanwhile`,
        outage.load,
      ),
    ],
  };
}

if (import.meta.main) {
  const seconds = Number(process.argv[2] ?? 300);
  const rotation = await rotateUnderLoad({ seconds });
  process.stdout.write(
    `${JSON.stringify({ ...rotation, load: { ...rotation.load, latenciesMs: undefined } }, undefined, 2)}\n`,
  );
  const outage = await outageUnderLoad({ svidTtlSeconds: Math.min(120, Math.max(20, seconds / 4)) });
  process.stdout.write(
    `${JSON.stringify({ ...outage, load: { ...outage.load, latenciesMs: undefined } }, undefined, 2)}\n`,
  );
}

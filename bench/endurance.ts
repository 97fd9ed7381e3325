// Steady load through two sidecars while the certificate authority rotates, and while it is gone. Not one request may fail.
// `node bench/endurance.ts [SECONDS]` runs both for that long; the test suite runs them for seconds.
import { setTimeout as wait } from 'node:timers/promises';
import { startPostern } from '../cli/demo/processes.ts';
import { type LoadResult, startLoad } from './load.ts';
import { startMesh } from './mesh.ts';

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
  /** Failures of the calls that asked for a rotation. */
  readonly refused: readonly string[];
}

/** Rotates the issuing CA every few seconds and the root as often as its overlap allows, under load, for about `seconds`. */
export async function rotateUnderLoad({
  seconds,
  svidTtl = '12s',
}: {
  seconds: number;
  svidTtl?: string;
}): Promise<RotationRun> {
  const mesh = await startMesh(['--svid-ttl', svidTtl]);
  try {
    const web = await mesh.join('web');
    await mesh.join('payments');
    await mesh.apply(allowAll);
    const load = startLoad({ to: web.outbound(), url: 'http://payments/charges', perSecond: 100, connections: 8 });
    const refused: string[] = [];
    let issuingRotations = 0;
    let rootRotations = 0;
    const end = performance.now() + seconds * 1_000;
    while (performance.now() < end) {
      await wait(2_500);
      const { rootRotation } = JSON.parse(await mesh.postern('ca', 'status', '-o', 'json')) as {
        rootRotation: { phase: string };
      };
      const root = rootRotation.phase === 'stable';
      await mesh.postern('ca', 'rotate', ...(root ? ['--root'] : [])).then(
        () => (root ? rootRotations++ : issuingRotations++),
        (thrown: Error) => refused.push(thrown.message),
      );
    }
    return { load: await load.stop(), issuingRotations, rootRotations, refused };
  } finally {
    await mesh.close();
  }
}

export interface OutageRun {
  readonly load: LoadResult;
  /** Sidecars restarted while the control plane was away. */
  readonly restarts: number;
}

/** Stops the control plane for half a certificate life under load; each of two payments sidecars restarts meanwhile. */
export async function outageUnderLoad({ svidTtlSeconds }: { svidTtlSeconds: number }): Promise<OutageRun> {
  const mesh = await startMesh(['--svid-ttl', `${svidTtlSeconds}s`]);
  try {
    const web = await mesh.join('web');
    const payments = [await mesh.join('payments'), await mesh.join('payments')];
    await mesh.apply(allowAll);
    const load = startLoad({ to: web.outbound(), url: 'http://payments/charges', perSecond: 100, connections: 8 });
    await wait(1_000);
    await mesh.server.stop();
    const back = performance.now() + svidTtlSeconds * 500;
    for (const member of payments) {
      await wait(500);
      const { inbound } = member.sidecar.ready;
      await member.sidecar.stop();
      member.sidecar = await startPostern([...member.flags, '--inbound', inbound]);
    }
    await wait(Math.max(0, back - performance.now()));
    await mesh.startServer();
    await wait(svidTtlSeconds * 1_000);
    return { load: await load.stop(), restarts: payments.length };
  } finally {
    await mesh.close();
  }
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

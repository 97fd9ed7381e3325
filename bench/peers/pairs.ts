// Everything that one run of the data-plane benchmarks compares, up at the same time: an application, and before it a pair of proxies of each kind.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makePeerCertificates, type PeerCertificates } from './certificates.ts';
import { startHaproxyIn, startHaproxyOut } from './haproxy.ts';
import { startNginxApp, startNginxIn, startNginxOut } from './nginx.ts';
import { createPosternMesh, type PosternMesh } from './postern.ts';
import { freePorts, type Measured } from './processes.ts';
import { provide } from './programs.ts';
import { startSink } from './sink.ts';

export const kinds = ['Postern', 'nginx', 'HAProxy'] as const;
export type Kind = (typeof kinds)[number];

export interface Pair {
  readonly kind: Kind;
  /** Where callers connect. */
  readonly port: number;
  /** Where the first proxy connects: mutual TLS. */
  readonly innerPort: number;
  readonly out: Measured;
  readonly in: Measured;
  /** Microseconds of both proxies so far. */
  cpu(): number;
}

export interface Pairs {
  readonly all: readonly Pair[];
  readonly appPort: number;
  readonly certificates: PeerCertificates;
  readonly mesh: PosternMesh;
  close(): Promise<void>;
}

/** `app`: nginx, which answers 1 KB and has files of the given sizes, or a sink that reads what is sent to it and answers when it ends. */
export async function startPairs(o: { app: 'nginx' | 'sink'; fileBytes?: readonly number[] }): Promise<Pairs> {
  const missing = provide(
    [
      { name: 'nginx', packages: ['nginx-light'] },
      { name: 'haproxy', packages: ['haproxy'] },
      { name: 'wrk', packages: ['wrk'] },
      { name: 'openssl', packages: ['openssl'] },
    ],
    (text) => process.stderr.write(`${text}\n`),
  );
  if (missing.length > 0) throw new Error(`${missing.map(({ name }) => name).join(', ')} missing: run this as root`);
  const folder = mkdtempSync(join(tmpdir(), 'postern-bench-'));
  const started: Measured[] = [];
  const up = async <T extends Measured>(starting: Promise<T>): Promise<T> => {
    const one = await starting;
    started.push(one);
    return one;
  };
  let mesh: PosternMesh | undefined;
  const close = async (): Promise<void> => {
    await Promise.all(started.map((one) => one.stop()));
    mesh?.close();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const certificates = makePeerCertificates(folder);
    const [appPort, nginxOut, nginxIn, haproxyOut, haproxyIn] = (await freePorts(5)) as [
      number,
      number,
      number,
      number,
      number,
    ];
    const files = join(folder, 'files');
    mkdirSync(files);
    for (const bytes of o.fileBytes ?? []) writeFileSync(join(files, String(bytes)), Buffer.alloc(bytes, 'x'));
    if (o.app === 'nginx') await up(startNginxApp({ folder: join(folder, 'app'), port: appPort, files }));
    else await up(startSink(appPort));
    const hop = (name: string, port: number, to: number) => ({ folder: join(folder, name), port, to, certificates });
    mesh = await createPosternMesh(join(folder, 'postern'));
    const posternIn = await up(mesh.start('payments', appPort));
    const posternOut = await up(mesh.start('web', posternIn.port));
    const all = [
      pairOf('Postern', posternOut.port, posternIn.port, posternOut, posternIn),
      pairOf(
        'nginx',
        nginxOut,
        nginxIn,
        await up(startNginxOut(hop('nginx-out', nginxOut, nginxIn))),
        await up(startNginxIn(hop('nginx-in', nginxIn, appPort))),
      ),
      pairOf(
        'HAProxy',
        haproxyOut,
        haproxyIn,
        await up(startHaproxyOut(hop('haproxy-out', haproxyOut, haproxyIn))),
        await up(startHaproxyIn(hop('haproxy-in', haproxyIn, appPort))),
      ),
    ];
    return { all, appPort, certificates, mesh, close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

function pairOf(kind: Kind, port: number, innerPort: number, out: Measured, inner: Measured): Pair {
  return { kind, port, innerPort, out, in: inner, cpu: () => out.cpu() + inner.cpu() };
}

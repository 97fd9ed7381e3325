// Postern as a pair of proxies, each a process of its own, with certificates of a CA of its own.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock } from '#base/clock';
import { type Authority, initAuthority } from '#ca';
import { bundlePem, formatBundle, parseSpiffeId, toPem } from '#spiffe';
import type { Start } from './postern-proxy.ts';
import { type Measured, measuredOf } from './processes.ts';

export interface PosternProxy extends Measured {
  readonly port: number;
}

/** What a client needs to speak to an inbound proxy as another service. */
export interface ClientFiles {
  readonly key: string;
  readonly cert: string;
  readonly ca: string;
}

export interface PosternMesh {
  start(side: Start['side'], to: number, o?: { isBare?: boolean }): Promise<PosternProxy>;
  clientOf(service: string): ClientFiles;
  close(): void;
}

const file = fileURLToPath(new URL('./postern-proxy.ts', import.meta.url));

export async function createPosternMesh(folder: string): Promise<PosternMesh> {
  mkdirSync(folder, { recursive: true });
  const authority = await initAuthority({ home: join(folder, 'ca'), trustDomain: 'example.org', clock: systemClock });
  let count = 0;
  return {
    async start(side, to, { isBare = false } = {}) {
      const identity = issue(authority, side);
      const child = fork(file, [], { execArgv: process.env.BENCH_NODE_FLAGS?.split(' ') ?? [] });
      child.send({
        side,
        key: identity.key.export({ format: 'pem', type: 'pkcs8' }) as string,
        chain: identity.chain.map((der) => Buffer.from(der).toString('base64')),
        bundle: formatBundle(authority.bundle()),
        to,
        logFolder: join(folder, `log-${side}-${count++}`),
        isBare,
      } satisfies Start);
      return { ...measuredOf(child), port: await portOf(child) };
    },
    clientOf(service) {
      const identity = issue(authority, service);
      return {
        key: identity.key.export({ format: 'pem', type: 'pkcs8' }) as string,
        cert: identity.chain.map((der) => toPem(der)).join(''),
        ca: bundlePem(authority.bundle()),
      };
    },
    close: () => authority.close(),
  };
}

function issue(authority: Authority, service: string) {
  const id = parseSpiffeId(`spiffe://example.org/${service}`);
  return authority.issueLocal({ id, ttlMs: 3_600_000, instance: service });
}

async function portOf(child: ChildProcess): Promise<number> {
  const first = await Promise.race([once(child, 'message'), once(child, 'exit').then(() => undefined)]);
  if (!first) throw new Error('a Postern proxy ended before it served');
  return (first[0] as { port: number }).port;
}

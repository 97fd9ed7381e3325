// What one request over the HTTP/2 link costs: a client process and a server process, mutual TLS 1.3 between them, ours against node:http2.
// Not part of the data-plane figures: no policy, no record, no application, only the link.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock } from '#base/clock';
import { silentLog } from '#base/log';
import { initAuthority } from '#ca';
import { bundlePem, type Identity, parseSpiffeId, type TrustBundle, toPem } from '#spiffe';
import type { Bench, Figure } from './bench.ts';
import type { Credentials, Report } from './link-end.ts';

const kinds = ['ours', 'node'] as const;
const rounds = 60_000;
const end = fileURLToPath(new URL('./link-end.ts', import.meta.url));

export async function run(): Promise<Bench> {
  const folder = mkdtempSync(join(tmpdir(), 'postern-link-'));
  const authority = await initAuthority({
    home: folder,
    trustDomain: 'bench.test',
    clock: systemClock,
    log: silentLog,
  });
  try {
    const figures: Figure[] = [];
    const bundle = authority.bundle();
    const issue = (service: string): Credentials => {
      const id = parseSpiffeId(`spiffe://bench.test/${service}`);
      return credentialsOf(authority.issueLocal({ id, ttlMs: 3_600_000, instance: service }), bundle);
    };
    for (const concurrency of [1, 64, 256]) {
      for (const server of kinds)
        for (const client of kinds) {
          const [called, calling] = await measure({
            server,
            client,
            concurrency,
            credentials: [issue('a'), issue('b')],
          });
          const whole = called + calling;
          figures.push({
            what: `${concurrency} at a time, client ${client}, server ${server}`,
            measured: `${whole.toFixed(1)} us (client ${calling.toFixed(1)}, server ${called.toFixed(1)})`,
          });
        }
    }
    return {
      title: 'The link alone',
      how: `CPU a request (user and system) of both processes, ${rounds} GET requests with ten headers over one TLS 1.3 connection, 1 KB back.`,
      figures,
    };
  } finally {
    authority.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measure(o: {
  server: string;
  client: string;
  concurrency: number;
  credentials: [Credentials, Credentials];
}): Promise<[number, number]> {
  const server = start(['server', o.server], o.credentials[0]);
  const { port } = (await message(server)) as { port: number };
  const client = start(['client', o.client, String(port), String(o.concurrency), String(rounds)], o.credentials[1]);
  await message(client);
  server.send('begin');
  await message(server);
  client.send('begin');
  const calling = (await message(client)) as Report;
  server.send('end');
  const called = (await message(server)) as Report;
  client.kill();
  server.kill();
  return [called.micros / rounds, calling.micros / rounds];
}

function start(args: readonly string[], credentials: Credentials): ChildProcess {
  const child = fork(end, args);
  child.send(credentials);
  return child;
}

async function message(child: ChildProcess): Promise<unknown> {
  const [value] = await once(child, 'message');
  return value;
}

function credentialsOf(identity: Identity, bundle: TrustBundle): Credentials {
  return {
    key: identity.key.export({ type: 'pkcs8', format: 'pem' }) as string,
    chain: identity.chain.map((der) => toPem(der)).join(''),
    roots: bundlePem(bundle),
  };
}

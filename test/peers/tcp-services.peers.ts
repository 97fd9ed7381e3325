// PostgreSQL and Redis through two sidecars, with their own clients and with pg: protocols in which either side may speak first, and of which the
// proxies know nothing.
import { execFile, execFileSync } from 'node:child_process';
import { chownSync, mkdtempSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DecisionRecord } from '#wire';
import type { Running } from '../../cli/demo/processes.ts';
import { freeAddress, type PeerMesh, type SidecarReady, startPeerMesh } from './mesh.ts';
import { programPath } from './programs.ts';

/** PostgreSQL refuses to run as root. */
const nobody = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : undefined;

const policy = (rules: string): string => `
kind: Policy
name: data
to: [orders-db, cache]
rules:
${rules}
`;
const allowed = policy('  - { id: web-connects, effect: allow, from: [web], methods: [CONNECT] }');

let mesh: PeerMesh;
let web: Running<SidecarReady>;
let data: string;

beforeAll(async () => {
  mesh = await startPeerMesh();
  const postgres = await startPostgres();
  const redis = await freeAddress();
  const [host, port] = redis.split(':');
  const args = ['--bind', host!, '--port', port!, '--save', '', '--appendonly', 'no', '--dir', mesh.folder];
  await mesh.serve({ name: 'redis-server', args, address: redis });
  await mesh.apply(allowed);
  await mesh.sidecar({ service: 'orders-db', app: `tcp://${postgres}` });
  await mesh.sidecar({ service: 'cache', app: `tcp://${redis}` });
  web = await mesh.sidecar({
    service: 'web',
    app: '127.0.0.1:1',
    more: ['--upstream', 'orders-db=tcp://127.0.0.1:0', '--upstream', 'cache=tcp://127.0.0.1:0'],
  });
});

afterAll(async () => {
  await mesh?.end();
  if (data) rmSync(data, { recursive: true, force: true });
});

async function startPostgres(): Promise<string> {
  data = mkdtempSync(join(tmpdir(), 'postern-postgres-'));
  if (nobody) chownSync(data, nobody.uid, nobody.gid);
  const cluster = join(data, 'cluster');
  const given = ['-D', cluster, '-U', 'owner', '-A', 'trust', '-N', '--locale=C', '-E', 'UTF8'];
  execFileSync(programPath('initdb'), given, { stdio: 'ignore', cwd: data, ...nobody });
  const address = await freeAddress();
  const [host, port] = address.split(':');
  const options = ['-c', `listen_addresses=${host}`, '-c', `unix_socket_directories=${data}`, '-c', 'fsync=off'];
  await mesh.serve({
    name: 'postgres',
    args: ['-D', cluster, '-p', port!, ...options],
    address,
    cwd: data,
    user: nobody,
  });
  return address;
}

const addressOf = (service: string): { host: string; port: number } => {
  const [host, port] = web.ready.upstreams[service]!.split(':');
  return { host: host!, port: Number(port) };
};

function run(name: string, args: readonly string[], input = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      programPath(name),
      args,
      { timeout: 20_000, maxBuffer: 64 * 2 ** 20 },
      (error, stdout, stderr) => (error ? reject(new Error(`${name}: ${stderr || error.message}`)) : resolve(stdout)),
    );
    child.stdin?.end(input);
  });
}

const psql = (...args: string[]): Promise<string> => {
  const { host, port } = addressOf('orders-db');
  return run('psql', ['-h', host, '-p', String(port), '-U', 'owner', '-d', 'postgres', '-X', '-A', '-t', ...args]);
};
const redis = (...args: string[]): Promise<string> => {
  const { host, port } = addressOf('cache');
  return run('redis-cli', ['-h', host, '-p', String(port), ...args]);
};

describe('PostgreSQL', () => {
  test('psql asks and is answered, a large result included', async () => {
    expect(await psql('-c', 'select 6 * 7')).toBe('42\n');
    const rows = await psql('-c', "select repeat('x', 1000) from generate_series(1, 20000)");
    expect(rows.length).toBe(20_000 * 1_001);
  });

  test('pg: a transaction, a prepared statement, a notification that the server sends unasked', async () => {
    const client = new pg.Client({ ...addressOf('orders-db'), user: 'owner', database: 'postgres' });
    await client.connect();
    await client.query('create table orders (id int primary key, what text)');
    await client.query('begin');
    for (let id = 0; id < 100; id++) await client.query('insert into orders values ($1, $2)', [id, `order ${id}`]);
    await client.query('commit');
    const { rows } = await client.query({ name: 'one', text: 'select what from orders where id = $1', values: [42] });
    expect(rows).toEqual([{ what: 'order 42' }]);
    await client.query('listen news');
    const told = new Promise((resolve) => client.once('notification', ({ payload }) => resolve(payload)));
    await psql('-c', "notify news, 'something happened'");
    expect(await told).toBe('something happened');
    await client.end();
  });

  test('a connection is on record with who, whom, how much and how long', async () => {
    await psql('-c', 'select 1');
    const inbound = async (): Promise<DecisionRecord | undefined> =>
      (await mesh.json<{ records: DecisionRecord[] }>('audit', 'query', '--service', 'orders-db', '--hop', 'inbound'))
        .records[0];
    await expect.poll(inbound, { timeout: 10_000 }).toBeDefined();
    const record = await inbound();
    expect(record).toMatchObject({
      peer: 'spiffe://example.org/web',
      method: 'CONNECT',
      path: '/',
      decision: 'allow',
      rule: 'data/web-connects',
    });
    expect(record!.bytesOut).toBeGreaterThan(50);
  });
});

describe('Redis', () => {
  test('redis-cli sets and gets, pipelines, and hears what is published', async () => {
    expect(await redis('set', 'colour', 'green')).toBe('OK\n');
    expect(await redis('get', 'colour')).toBe('green\n');
    const { host, port } = addressOf('cache');
    const commands = Array.from({ length: 10_000 }, (_, index) => `SET key:${index} value:${index}\r\n`).join('');
    const loaded = await run('redis-cli', ['-h', host, '-p', String(port), '--pipe'], commands);
    expect(loaded).toMatch(/errors: 0, replies: 10000/);
    const subscriber = createConnection({ host, port });
    const heard = new Promise<string>((resolve) => {
      let text = '';
      subscriber.on('data', (bytes) => {
        text += bytes;
        if (text.includes('subscribe') && !text.includes('hello')) void redis('publish', 'news', 'hello');
        if (text.includes('hello')) resolve(text);
      });
    });
    subscriber.write('SUBSCRIBE news\r\n');
    expect(await heard).toContain('hello');
    subscriber.destroy();
  });

  test('curl opens the same tunnel by CONNECT on the HTTP port', async () => {
    const args = ['--silent', '--proxytunnel', '--proxy', `http://${web.ready.outbound}`, 'telnet://cache:6379'];
    expect(await run('curl', args, 'PING\r\nQUIT\r\n')).toBe('+PONG\r\n+OK\r\n');
  });

  test('without a rule the door is shut, on open connections too', async () => {
    const { host, port } = addressOf('cache');
    const open = createConnection({ host, port });
    open.on('error', () => undefined);
    await new Promise((resolve) => {
      open.once('data', resolve);
      open.write('PING\r\n');
    });
    const closed = new Promise((resolve) => open.once('close', resolve));
    await mesh.apply(policy('  - { id: nobody, effect: deny, from: ["*"] }'));
    await closed;
    await expect(redis('get', 'colour')).rejects.toThrow(/reset|closed|Connection/i);
    await mesh.apply(allowed);
    await expect.poll(() => redis('get', 'colour').catch(() => ''), { timeout: 10_000 }).toBe('green\n');
  });
});

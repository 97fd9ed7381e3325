// One home, one server: locks, files, ports, disks that refuse, restarts.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, test } from 'vitest';
import { systemClock } from '#base/clock';
import { silentLog } from '#base/log';
import { initAuthority } from '#ca';
import { startServer } from '#control';
import type { SvidReply } from '#wire';
import { createMesh, enrolment, newKey, trustDomain } from '../helpers/control-plane.ts';
import { temporaryFolder } from '../helpers/folder.ts';

const start = (home: string, listen = '127.0.0.1:0') =>
  startServer({ home, listen }, { clock: systemClock, log: silentLog });
async function emptyHome(): Promise<string> {
  const home = temporaryFolder();
  (await initAuthority({ home, trustDomain, clock: systemClock })).close();
  return home;
}

test('of a running server nobody else may read a file but its public roots: not its lock either', async () => {
  const mesh = await createMesh();
  await mesh.enrol('payments');
  const files = readdirSync(mesh.home, { recursive: true }).map((name) => String(name));
  const open = files.filter((name) => statSync(`${mesh.home}/${name}`).mode & 0o077);
  expect([files.includes('server.lock.db'), open]).toEqual([true, ['bundle.json']]);
});

describe('a second server on the same home', () => {
  test('refuses to start and names the first', async () => {
    const mesh = await createMesh();
    await expect(start(mesh.home)).rejects.toMatchObject({
      code: 'SERVER_RUNNING',
      message: `another server runs on ${mesh.home}: pid ${process.pid} at ${mesh.server.url}`,
    });
    expect((await mesh.ask({ path: '/livez' })).status).toBe(200);
  });

  test('may start once the first has stopped, and also when it was killed', async () => {
    const home = await emptyHome();
    const script = `
      const { startServer } = await import('#control');
      const { systemClock } = await import('#base/clock');
      const { silentLog } = await import('#base/log');
      const server = await startServer({ home: process.argv[1], listen: '127.0.0.1:0' }, { clock: systemClock, log: silentLog });
      console.log(server.url);
    `;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script, home], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    await expect(start(home)).rejects.toMatchObject({
      code: 'SERVER_RUNNING',
      message: expect.stringContaining(`pid ${child.pid} `),
    });
    child.kill('SIGKILL');
    await once(child, 'exit');
    // As if it had been killed in the middle of these two writes.
    for (const name of ['server.json', 'ca/token.key'])
      writeFileSync(`${home}/${name}.${child.pid}.0123456789ab.tmp`, '{"url":');
    const server = await start(home);
    // Of the log of events others may be there, which its next writes use.
    const left = readdirSync(home, { recursive: true }).filter((name) => String(name).endsWith('.0123456789ab.tmp'));
    expect(left).toEqual([]);
    expect(JSON.parse(readFileSync(`${home}/server.json`, 'utf8'))).toEqual({ url: server.url, pid: process.pid });
    await server.close();
    expect(existsSync(`${home}/server.json`)).toBe(false);
    await (await start(home)).close();
  });
});

test('a running server leaves its place and its bundle in the home, readable by the right ones', async () => {
  const mesh = await createMesh();
  expect(JSON.parse(readFileSync(`${mesh.home}/server.json`, 'utf8'))).toEqual({
    url: mesh.server.url,
    pid: process.pid,
  });
  expect(statSync(`${mesh.home}/server.json`).mode & 0o777).toBe(0o600);
  const { body } = await mesh.ask({ path: '/v1/bundle' });
  expect(JSON.parse(readFileSync(`${mesh.home}/bundle.json`, 'utf8'))).toEqual(body);
  expect(statSync(`${mesh.home}/bundle.json`).mode & 0o777).toBe(0o644);
});

describe('F5', () => {
  test('a port that is taken is a named error, and the home is free again', async () => {
    const home = await emptyHome();
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as { port: number };
    await expect(start(home, `127.0.0.1:${port}`)).rejects.toMatchObject({
      code: 'SERVER_LISTEN_FAILED',
      message: `127.0.0.1:${port} cannot be listened on: another program listens there`,
    });
    other.close();
    await (await start(home)).close();
  });

  test.each(['8443', '127.0.0.1', ':8443', '127.0.0.1:99999', '[::1:8443', '[nonsense]:1', '127.0.0.1:x'])(
    '%s is not an address',
    async (listen) => {
      await expect(start('/nowhere', listen)).rejects.toMatchObject({ code: 'SERVER_LISTEN_INVALID' });
    },
  );

  test('no home, a home without a CA, and one that cannot be written are named errors', async () => {
    await expect(start('/nowhere/at/all')).rejects.toMatchObject({ code: 'SERVER_HOME_UNUSABLE' });
    await expect(start(temporaryFolder())).rejects.toMatchObject({ code: 'CA_MISSING' });
    const home = await emptyHome();
    mkdirSync(`${home}/server.lock.db`);
    await expect(start(home)).rejects.toMatchObject({ code: 'SERVER_HOME_UNUSABLE' });
  });

  test.skipIf(process.getuid?.() === 0)('a read-only home is a named error', async () => {
    const home = await emptyHome();
    chmodSync(home, 0o500);
    await expect(start(home)).rejects.toMatchObject({ code: 'SERVER_HOME_UNUSABLE' });
    chmodSync(home, 0o700);
  });
});

/** Lets no page be added to a database, as a full disk would; the result makes room again. */
function fill(path: string): { room(): void } {
  const sql = new DatabaseSync(path);
  sql.exec(
    "CREATE TRIGGER full_issued BEFORE INSERT ON issued BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END",
  );
  sql.close();
  return {
    room() {
      const again = new DatabaseSync(path);
      again.exec('DROP TRIGGER full_issued');
      again.close();
    },
  };
}

describe('when the disk refuses', () => {
  test('C11, C12: an enrolment fails cleanly, its token stays unused, and works once there is room', async () => {
    const mesh = await createMesh();
    const token = await mesh.token('payments');
    const disk = fill(`${mesh.home}/postern.db`);
    const key = newKey();
    const refused = await mesh.ask(enrolment({ token, key }));
    expect([refused.status, refused.body]).toEqual([
      503,
      { error: { code: 'SERVER_STORE_FAILED', message: 'the server cannot do this now' } },
    ]);
    expect(await mesh.events('enrol')).toMatchObject([{ outcome: 'failed', reason: 'SERVER_STORE_FAILED' }]);
    disk.room();
    expect(((await mesh.ask(enrolment({ token, key }))).body as unknown as SvidReply).id).toContain('payments');
  });

  test('C11: the data plane goes on: watches, reports and reads are answered', async () => {
    const mesh = await createMesh();
    const proxy = await mesh.enrol('payments');
    const sql = new DatabaseSync(`${mesh.home}/postern.db`);
    sql.exec('BEGIN IMMEDIATE');
    const body = { version: 1, revision: 1, notAfter: 0, connections: { inbound: 0, outbound: 0 }, state: 'serving' };
    await proxy.channel.call({ method: 'POST', path: '/v1/proxy/report', body });
    expect((await mesh.admin.call<{ proxies: unknown[] }>({ method: 'GET', path: '/v1/status' })).proxies).toHaveLength(
      1,
    );
    sql.exec('ROLLBACK');
    sql.close();
  });

  test('C12: while events cannot be written nothing is changed, nothing is lost, and it goes on by itself', async () => {
    const mesh = await createMesh();
    const audit = new DatabaseSync(`${mesh.home}/audit.db`);
    const [{ name }] = audit
      .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE '%event%'")
      .all() as [{ name: string }];
    audit.exec(
      `CREATE TRIGGER full BEFORE INSERT ON ${name} BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END`,
    );
    await mesh.token('first');
    await expect(mesh.token('second')).rejects.toMatchObject({ code: 'SERVER_EVENTS_UNWRITABLE', status: 503 });
    const unready = await mesh.ask({ path: '/readyz', identity: mesh.adminIdentity });
    expect(unready.status).toBe(503);
    audit.exec('DROP TRIGGER full');
    audit.close();
    await mesh.token('third');
    const outcomes = (await mesh.events('token.create')).map(({ outcome, subject }) => `${outcome} ${subject ?? ''}`);
    expect(outcomes).toEqual(['done spiffe://example.org/first', 'failed ', 'done spiffe://example.org/third']);
    expect((await mesh.ask({ path: '/readyz', identity: mesh.adminIdentity })).status).toBe(200);
  });
});

test('a restart keeps identities, bans, tokens and events', async () => {
  const mesh = await createMesh();
  const [proxy, banned] = [await mesh.enrol('payments'), await mesh.enrol('ledger')];
  await mesh.admin.call({ method: 'POST', path: '/v1/bans', body: { version: 1, id: 'ledger' } });
  const token = await mesh.token('checkout');
  await mesh.restart();
  const renew = (identity: typeof proxy.identity) =>
    mesh.ask({ method: 'POST', path: '/v1/renew', identity, body: {} });
  expect((await renew(proxy.identity)).body.error?.code).toBe('REQUEST_INVALID');
  expect((await renew(banned.identity)).body.error?.code).toBe('CALLER_BANNED');
  expect((await mesh.ask(enrolment({ token, key: newKey() }))).status).toBe(200);
  const events = await mesh.events('server.start');
  expect(events).toHaveLength(2);
  expect((await mesh.events('enrol')).map(({ subject }) => subject)).toEqual(
    ['payments', 'ledger', 'checkout'].map((service) => `spiffe://example.org/${service}`),
  );
});

test('F3: stopping twice is stopping once, and a request in flight is answered', async () => {
  const mesh = await createMesh();
  const answers = Promise.all(Array.from({ length: 5 }, () => mesh.ask({ path: '/v1/bundle' }).catch(() => undefined)));
  await Promise.all([mesh.server.close(), mesh.server.close()]);
  await answers;
  await expect(mesh.ask({ path: '/livez' })).rejects.toMatchObject({ code: 'ECONNREFUSED' });
});

test('F3: somebody who never finishes a handshake does not hold the stop up past its deadline', async () => {
  const mesh = await createMesh({ limits: { stopMs: 1_000 } });
  const { host, port } = mesh.server.address;
  const socket = connect({ host, port });
  await once(socket, 'connect');
  await mesh.ask({ path: '/livez' });
  const closed = mesh.server.close();
  mesh.clock.advance(1_000);
  await closed;
  socket.destroy();
});

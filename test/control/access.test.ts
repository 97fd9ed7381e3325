// Who gets an answer from which route: every route against every kind of caller.
import { once } from 'node:events';
import { connect } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { bundlePem, type Identity } from '#spiffe';
import { createMesh, type Mesh, trustDomain } from '../helpers/control-plane.ts';
import { createTestCa } from '../helpers/fake-control.ts';

type Kind = 'public' | 'any' | 'proxy' | 'admin';
const routes: readonly (readonly [method: string, path: string, needs: Kind])[] = [
  ['GET', '/livez', 'public'],
  ['GET', '/v1/bundle', 'public'],
  ['POST', '/v1/enrol', 'public'],
  ['GET', '/readyz', 'any'],
  ['GET', '/metrics', 'any'],
  ['POST', '/v1/renew', 'any'],
  ['GET', '/v1/no-such-thing', 'any'],
  ['POST', '/v1/proxy/watch', 'proxy'],
  ['POST', '/v1/proxy/report', 'proxy'],
  ['POST', '/v1/proxy/records', 'proxy'],
  ['POST', '/v1/proxy/tap', 'proxy'],
  ['POST', '/v1/proxy/dump', 'proxy'],
  ['POST', '/v1/tap', 'admin'],
  ['GET', '/v1/dump', 'admin'],
  ['GET', '/v1/services', 'admin'],
  ['GET', '/v1/services/payments', 'admin'],
  ['GET', '/v1/snapshot?service=payments', 'admin'],
  ['POST', '/v1/tokens', 'admin'],
  ['GET', '/v1/tokens', 'admin'],
  ['POST', '/v1/resources', 'admin'],
  ['GET', '/v1/resources', 'admin'],
  ['DELETE', '/v1/resources/Policy/none', 'admin'],
  ['GET', '/v1/policy', 'admin'],
  ['GET', '/v1/status', 'admin'],
  ['GET', '/v1/identities', 'admin'],
  ['GET', '/v1/bans', 'admin'],
  ['POST', '/v1/bans', 'admin'],
  ['POST', '/v1/unbans', 'admin'],
  ['GET', '/v1/ca', 'admin'],
  ['POST', '/v1/ca/rotate', 'admin'],
  ['GET', '/v1/records', 'admin'],
  ['GET', '/v1/records/tail', 'admin'],
  ['GET', '/v1/events', 'admin'],
];

/** What the caller is told: `in` when the route itself answers, whatever it says of an empty body. */
async function ask(mesh: Mesh, [method, path]: (typeof routes)[number], identity?: Identity): Promise<string> {
  if (path.endsWith('/tail') && identity === mesh.adminIdentity) return 'in';
  const body = method === 'POST' ? { body: {} } : {};
  const { status, body: answer } = await mesh.ask({ method, path, identity, ...body });
  const code = answer.error?.code ?? '';
  return code.startsWith('CALLER_') ? `${status} ${code}` : 'in';
}

describe('every route', () => {
  const expected: Record<Kind, { anonymous: string; proxy: string; admin: string }> = {
    public: { anonymous: 'in', proxy: 'in', admin: 'in' },
    any: { anonymous: '401 CALLER_ANONYMOUS', proxy: 'in', admin: 'in' },
    proxy: { anonymous: '401 CALLER_ANONYMOUS', proxy: 'in', admin: '403 CALLER_REFUSED' },
    admin: { anonymous: '401 CALLER_ANONYMOUS', proxy: '403 CALLER_REFUSED', admin: 'in' },
  };
  test('answers the callers it is for and nobody else', async () => {
    const mesh = await createMesh();
    const proxy = await mesh.enrol('payments');
    for (const route of routes) {
      const found = {
        anonymous: await ask(mesh, route),
        proxy: await ask(mesh, route, proxy.identity),
        admin: await ask(mesh, route, mesh.adminIdentity),
      };
      expect(found, route.join(' ')).toEqual(expected[route[2]]);
    }
  });

  test('refuses a banned identity, public routes included', async () => {
    const mesh = await createMesh();
    const proxy = await mesh.enrol('payments');
    await mesh.admin.call({ method: 'POST', path: '/v1/bans', body: { version: 1, id: 'payments' } });
    for (const route of routes) expect(await ask(mesh, route, proxy.identity)).toBe('403 CALLER_BANNED');
  });

  test('tells a caller without a certificate nothing but the code and that it was refused', async () => {
    const mesh = await createMesh();
    const { body } = await mesh.ask({ path: '/v1/status' });
    expect(body).toEqual({ error: { code: 'CALLER_ANONYMOUS', message: 'this needs a client certificate' } });
    const [event] = await mesh.events('access');
    expect(event).toMatchObject({ outcome: 'refused', actor: 'unauthenticated', reason: 'CALLER_ANONYMOUS' });
    expect(event?.remote).toMatch(/^127\.0\.0\.1:/);
  });
});

describe('before HTTP', () => {
  test('T3: a certificate of another CA gets no answer, not even from a public route', async () => {
    const mesh = await createMesh();
    const foreign = await (await createTestCa(trustDomain)).issue({ service: 'payments' });
    for (const path of ['/livez', '/v1/status']) await expect(mesh.ask({ path, identity: foreign })).rejects.toThrow();
    const events = await mesh.events('handshake');
    expect(events.length).toBe(2);
    expect(events[0]).toMatchObject({ outcome: 'refused', actor: 'unauthenticated', reason: 'TLS_UNVERIFIED' });
  });

  test('T1: an expired certificate gets no answer', async () => {
    const mesh = await createMesh();
    const ca = await createTestCa(trustDomain);
    const expired = await ca.issue({ service: 'payments', notBefore: Date.now() - 7_200_000 });
    await expect(mesh.ask({ path: '/livez', identity: expired })).rejects.toThrow();
  });

  test.each(['TLSv1', 'TLSv1.1', 'TLSv1.2'] as const)('T21: %s is refused with an alert', async (version) => {
    const mesh = await createMesh();
    const { host, port } = mesh.server.address;
    const error = await new Promise<NodeJS.ErrnoException>((resolve, reject) => {
      const socket = connect({ host, port, ca: bundlePem(mesh.bundle()), minVersion: version, maxVersion: version });
      socket.on('error', resolve);
      socket.on('secureConnect', () => reject(new Error('it was let in')));
    });
    expect(String(error.code)).toMatch(/PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|NO_PROTOCOLS/);
  });

  test('T29: bytes that are not TLS end the connection and nothing else', async () => {
    const mesh = await createMesh({ limits: { handshakeMs: 300 } });
    const { host, port } = mesh.server.address;
    const { connect: plain } = await import('node:net');
    for (const bytes of ['GET / HTTP/1.1\r\nhost: x\r\n\r\n', '\0\0\0\0', 'a'.repeat(100_000)]) {
      await new Promise<void>((resolve) => {
        const socket = plain({ host, port }, () => socket.write(bytes));
        socket.on('error', () => undefined);
        socket.on('close', () => resolve());
        socket.resume();
      });
    }
    expect((await mesh.ask({ path: '/livez' })).status).toBe(200);
  });

  test('T28: half handshakes are bounded, and whoever makes them keeps no other address out', async () => {
    const mesh = await createMesh({ limits: { handshakes: 4 } });
    const { host, port } = mesh.server.address;
    const { connect: plain } = await import('node:net');
    const half = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const socket = plain({ host, port });
        socket.on('error', () => undefined);
        await once(socket, 'connect');
        return socket.resume();
      }),
    );
    await expect.poll(() => half.filter(({ closed }) => closed).length).toBe(16);
    const options = {
      host,
      port,
      localAddress: '127.0.0.2',
      ca: bundlePem(mesh.bundle()),
      ALPNProtocols: ['http/1.1'],
    };
    const other = connect({ ...options, checkServerIdentity: () => undefined });
    await once(other, 'secureConnect');
    other.write('GET /livez HTTP/1.1\r\nhost: x\r\n\r\n');
    expect(String((await once(other, 'data'))[0])).toContain('200 OK');
    other.destroy();
    expect(half.filter(({ closed }) => closed)).toHaveLength(17);
    for (const socket of half) socket.destroy();
    expect((await mesh.ask({ path: '/livez' })).status).toBe(200);
  });

  test('a certificate that the authority has no record of is refused', async () => {
    const mesh = await createMesh();
    const proxy = await mesh.enrol('payments');
    const { DatabaseSync } = await import('node:sqlite');
    const sql = new DatabaseSync(`${mesh.home}/postern.db`);
    sql.exec('PRAGMA foreign_keys = OFF');
    sql.prepare('DELETE FROM issued WHERE serial = ?').run(proxy.identity.serial);
    sql.close();
    const { status, body } = await mesh.ask({
      method: 'POST',
      path: '/v1/proxy/report',
      body: {},
      identity: proxy.identity,
    });
    expect([status, body.error?.code]).toEqual([403, 'CALLER_UNKNOWN']);
  });
});

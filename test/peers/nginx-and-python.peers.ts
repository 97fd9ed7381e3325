// Applications that know nothing of Postern, called with curl: allowed, denied, explained, recorded, banned.
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DecisionRecord } from '#wire';
import type { Running } from '../../cli/demo/processes.ts';
import { curl, freeAddress, type PeerMesh, type SidecarReady, startNginx, startPeerMesh } from './mesh.ts';

const policy = `
kind: Policy
name: shop
to: [payments, files]
rules:
  - { id: web-reads, effect: allow, from: [web], methods: [GET, HEAD] }
  - { id: web-charges, effect: allow, from: [web], methods: [POST, PUT], paths: [/charges, "/upload/**"] }
  - { id: no-admin, effect: deny, from: ["*"], paths: ["/admin/**"] }
`;

let mesh: PeerMesh;
let web: Running<SidecarReady>;
let nginx: string;
let proxy: string[];
const big = randomBytes(8 * 2 ** 20);

beforeAll(async () => {
  mesh = await startPeerMesh();
  nginx = await startNginx(
    mesh,
    `location = /charges { return 201 "charged\\n"; }
     location /admin/ { return 200 "secret\\n"; }
     location = /who { return 200 "$http_x_forwarded_client_cert $http_x_postern_peer\\n"; }`,
  );
  const www = join(mesh.folder, 'files');
  mkdirSync(www);
  writeFileSync(join(www, 'hello.txt'), 'hello from python\n');
  writeFileSync(join(www, 'big.bin'), big);
  const python = await freeAddress();
  const [host, port] = python.split(':');
  await mesh.serve({
    name: 'python3',
    args: ['-m', 'http.server', port!, '--bind', host!, '--directory', www],
    address: python,
  });
  await mesh.apply(policy);
  await mesh.sidecar({ service: 'payments', app: nginx });
  await mesh.sidecar({ service: 'files', app: python });
  web = await mesh.sidecar({ service: 'web', app: '127.0.0.1:1', more: ['--upstream', 'payments=127.0.0.1:0'] });
  proxy = ['--proxy', `http://${web.ready.outbound}`];
});

afterAll(() => mesh?.end());

describe('what is allowed', () => {
  test('passes to nginx by HTTP_PROXY, by Host and by the port of its own', async () => {
    const { outbound, upstreams } = web.ready;
    const answers = await Promise.all([
      curl(...proxy, '-X', 'POST', 'http://payments/charges'),
      curl('-H', 'Host: payments', '-X', 'POST', `http://${outbound}/charges`),
      curl('-X', 'POST', `http://${upstreams.payments}/charges`),
    ]);
    expect(answers.map(({ status, body }) => ({ status, body }))).toEqual(
      Array.from({ length: 3 }, () => ({ status: 201, body: 'charged\n' })),
    );
  });

  test('passes to python3 http.server, eight megabytes unharmed', async () => {
    expect((await curl(...proxy, 'http://files/hello.txt')).body).toBe('hello from python\n');
    const { body } = await curl(...proxy, 'http://files/big.bin');
    const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
    expect(digest(Buffer.from(body, 'latin1'))).toBe(digest(big));
  });

  test('takes a body that is announced by Expect, and an empty answer to HEAD', async () => {
    const file = join(mesh.folder, 'body');
    writeFileSync(file, randomBytes(200_000));
    const { status } = await curl(
      ...proxy,
      '-H',
      'Expect: 100-continue',
      '--data-binary',
      `@${file}`,
      'http://payments/charges',
    );
    expect(status).toBe(201);
    expect(await curl(...proxy, '--head', 'http://files/hello.txt')).toMatchObject({ status: 200, body: '' });
  });
});

describe('what is denied', () => {
  test.each([
    ['a method that no rule allows', ['-X', 'DELETE', 'http://payments/charges'], 'default-deny'],
    ['a path that a rule denies', ['http://payments/admin/x'], 'denied-by-rule'],
    ['the same path in disguise', ['--path-as-is', 'http://payments/a/../admin/x'], undefined],
    ['the same path encoded', ['--path-as-is', 'http://payments/%61dmin/x'], undefined],
  ])('%s gets 403 or 400 and never the answer of nginx', async (_, args, reason) => {
    const { status, body } = await curl(...proxy, ...args);
    expect([400, 403]).toContain(status);
    expect(body).not.toContain('secret');
    if (reason) expect(body).toContain(reason);
    expect(readFileSync(join(mesh.folder, `nginx-${nginx.split(':')[1]}`, 'access.log'), 'utf8')).not.toContain(
      '/admin',
    );
  });

  test('the id in the answer leads to the record, with who, what and why', async () => {
    const { headers } = await curl(...proxy, '-X', 'DELETE', 'http://payments/charges?card=4111');
    const id = /x-postern-decision: (\S+)/i.exec(headers)?.[1];
    expect(id).toBeDefined();
    const record = await found(id!);
    expect(record).toMatchObject({
      decision: 'deny',
      reason: 'default-deny',
      method: 'DELETE',
      path: '/charges',
      to: 'spiffe://example.org/payments',
      status: 403,
    });
    expect(JSON.stringify(record)).not.toContain('4111');
  });

  test('why says the same as the proxies', async () => {
    const { code } = await mesh.postern('policy', 'why', 'web', 'payments', 'POST', '/charges');
    expect(code).toBe(0);
    await expect(mesh.postern('policy', 'why', 'web', 'payments', 'DELETE', '/charges')).rejects.toThrow(
      'ended with 3',
    );
  });
});

test('the inbound record of an allowed call names caller, rule and certificate', async () => {
  await curl(...proxy, '-X', 'POST', 'http://payments/charges');
  const query = [
    'audit',
    'query',
    '--service',
    'payments',
    '--decision',
    'allow',
    '--hop',
    'inbound',
    '--rule',
    'shop/web-charges',
  ];
  await expect
    .poll(async () => (await mesh.json<{ records: DecisionRecord[] }>(...query)).records.at(-1), { timeout: 10_000 })
    .toMatchObject({ peer: 'spiffe://example.org/web', status: 201, serial: expect.stringMatching(/^[0-9a-f]+$/) });
});

test('a certificate of the wrong kind, or none, gets nothing from an inbound listener', async () => {
  const { inbound } = web.ready;
  await expect(curl('--insecure', `https://${inbound}/`)).rejects.toThrow();
});

test('a banned service is cut off within a second or two', async () => {
  await mesh.postern('identity', 'ban', 'web', '--reason', 'drill');
  await expect
    .poll(async () => (await curl(...proxy, 'http://files/hello.txt').catch(() => ({ status: 0 }))).status, {
      timeout: 5_000,
    })
    .not.toBe(200);
  await mesh.postern('identity', 'unban', 'web');
});

/** The record of an id, once it has been collected. */
async function found(id: string): Promise<DecisionRecord> {
  let records: readonly DecisionRecord[] = [];
  await expect
    .poll(
      async () => {
        const reply = await mesh
          .json<{ records: DecisionRecord[] }>('audit', 'query', '--id', id)
          .catch(() => ({ records: [] }));
        records = reply.records;
        return records.length;
      },
      { timeout: 10_000 },
    )
    .toBe(1);
  return records[0]!;
}

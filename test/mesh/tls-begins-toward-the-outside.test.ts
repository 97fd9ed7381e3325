import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { der } from '#spiffe';
import type { ClusterEntry, TlsOrigination } from '#wire';
import { startClusterCaller } from '../helpers/cluster-call.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { createOutsideCa, type OutsideServer, type Pem, startHttps, startTls } from '../helpers/outside-server.ts';
import { clientAuth, purposes, san } from '../helpers/pki.ts';

const outside = ({ address }: OutsideServer, tls: TlsOrigination, more: Partial<ClusterEntry> = {}) => ({
  clusters: [
    {
      name: 'outside',
      id: 'spiffe://example.org/outside',
      endpoints: { static: [address] },
      hosts: ['api.example'],
      tls,
      ...more,
    } satisfies ClusterEntry,
  ],
});

async function callIt(server: OutsideServer, tls: TlsOrigination, more?: Partial<ClusterEntry>) {
  const caller = startClusterCaller();
  caller.configure(outside(server, tls, more));
  return JSON.parse((await caller.call('outside', { host: 'api.example' })).body);
}

describe('TLS toward the outside', () => {
  const ca = createOutsideCa();

  test('asks for the first host of the cluster, and speaks HTTP/1.1 to who speaks nothing else', async () => {
    const server = await startHttps(ca.issue(['api.example']));
    expect(await callIt(server, { ca: ca.pem })).toMatchObject({
      protocol: 'HTTP/1.1',
      host: 'api.example',
      tls: 'TLSv1.3',
    });
    expect(server.asked()).toBe('api.example');
  });

  test('agrees on HTTP/2 by ALPN, with many requests on one connection', async () => {
    const server = await startHttps({ ...ca.issue(['api.example']), h2: true });
    const caller = startClusterCaller();
    caller.configure(outside(server, { ca: ca.pem }));
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => caller.call('outside', { host: 'api.example' })),
    );
    for (const { body } of answers)
      expect(JSON.parse(body)).toMatchObject({ protocol: 'HTTP/2', host: 'api.example', scheme: 'https' });
    expect(server.handshakes()).toBe(1);
  });

  test('asks for and demands `sni` where the cluster has it', async () => {
    const server = await startHttps(ca.issue(['other.example']));
    await callIt(server, { ca: ca.pem, sni: 'other.example' });
    expect(server.asked()).toBe('other.example');
  });

  test('takes a name that an asterisk of the certificate stands for', async () => {
    const server = await startHttps(ca.issue(['*.api.example']));
    expect(await callIt(server, { ca: ca.pem, sni: 'v1.api.example' })).toMatchObject({ tls: 'TLSv1.3' });
  });

  test('takes the address itself where nothing has a name', async () => {
    const address = der(0x87, Buffer.of(127, 0, 0, 1));
    const server = await startHttps(ca.issue(['nobody'], { san: san([address], false) }));
    await callIt(server, { ca: ca.pem }, { hosts: ['*.example'] });
    expect(server.asked()).toBe(false);
  });

  test('of 1.2 is enough unless the cluster wants 1.3', async () => {
    const server = await startHttps({ ...ca.issue(['api.example']), maxVersion: 'TLSv1.2' });
    expect(await callIt(server, { ca: ca.pem })).toMatchObject({ tls: 'TLSv1.2' });
    await expect(callIt(server, { ca: ca.pem, minVersion: '1.3' })).rejects.toMatchObject({
      code: 'UPSTREAM_CONNECT_FAILED',
      message: expect.stringMatching(/TLS handshake failed.*version/),
    });
  });

  test('of 1.2 with a cipher that has no forward secrecy is refused', async () => {
    const server = await startHttps({ ...ca.issue(['api.example']), maxVersion: 'TLSv1.2', ciphers: 'AES128-SHA' });
    await expect(callIt(server, { ca: ca.pem })).rejects.toMatchObject({ code: 'UPSTREAM_CONNECT_FAILED' });
  });

  test('carries TCP as it is', async () => {
    const server = await startTls(ca.issue(['api.example']), (socket) => {
      socket.on('data', (bytes) => socket.write(`echo ${bytes}`));
      socket.on('end', () => socket.end());
    });
    const caller = startClusterCaller();
    caller.configure(outside(server, { ca: ca.pem }, { protocol: 'tcp' }));
    expect(await caller.tunnel('outside', 'hello')).toBe('echo hello');
  });

  test('with `protocol: h2c` demands HTTP/2', async () => {
    const [old, young] = [
      await startHttps(ca.issue(['api.example'])),
      await startHttps({ ...ca.issue(['api.example']), h2: true }),
    ];
    await expect(callIt(old, { ca: ca.pem }, { protocol: 'h2c' })).rejects.toMatchObject({
      code: 'UPSTREAM_CONNECT_FAILED',
    });
    expect(await callIt(young, { ca: ca.pem }, { protocol: 'h2c' })).toMatchObject({ protocol: 'HTTP/2' });
  });

  test('to a server that speaks no TLS says so', async () => {
    const server = await startTls(ca.issue(['api.example']), () => undefined);
    server.server.removeAllListeners('connection');
    server.server.on('connection', (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    await expect(callIt(server, { ca: ca.pem })).rejects.toMatchObject({
      code: 'UPSTREAM_CONNECT_FAILED',
      message: expect.stringMatching(/TLS/),
    });
  });

  const hour = 3_600_000;
  const cases: readonly (readonly [string, () => Pem, TlsOrigination, RegExp])[] = [
    [
      'a wrong name',
      () => ca.issue(['other.example']),
      { ca: ca.pem },
      /not for api\.example but has DNS:other\.example/,
    ],
    ['a name in the subject only', () => ca.issue([], { san: undefined }), { ca: ca.pem }, /not for api\.example/],
    ['an asterisk for a part of a label', () => ca.issue(['a*i.example']), { ca: ca.pem }, /not for api\.example/],
    [
      'an asterisk that would stand for two labels',
      () => ca.issue(['*.com']),
      { ca: ca.pem, sni: 'a.b.com' },
      /not for a\.b/,
    ],
    [
      'an expired certificate',
      () => ca.issue(['api.example'], { notAfter: Date.now() - hour / 2 }),
      { ca: ca.pem },
      /has expired/,
    ],
    [
      'one of the future',
      () => ca.issue(['api.example'], { notBefore: Date.now() + hour / 2 }),
      { ca: ca.pem },
      /not valid yet/,
    ],
    [
      'one of another CA',
      () => createOutsideCa('Other').issue(['api.example']),
      { ca: ca.pem },
      /CA that is not trusted/,
    ],
    [
      'one of a private CA where only the public ones are trusted',
      () => ca.issue(['api.example']),
      {},
      /CA that is not trusted/,
    ],
    [
      'one for clients',
      () => ca.issue(['api.example'], { purposes: purposes([clientAuth]) }),
      { ca: ca.pem },
      /not for servers/,
    ],
  ];
  test.each(cases)('refuses %s before a byte of the request is sent', async (_, issue, tls, reason) => {
    const server = await startHttps(issue());
    let requests = 0;
    server.server.on('request', () => requests++);
    await expect(callIt(server, tls)).rejects.toMatchObject({
      code: 'UPSTREAM_IDENTITY_WRONG',
      message: expect.stringMatching(reason),
    });
    expect(requests).toBe(0);
  });

  test('whose CA is no certificate is refused with the configuration', () => {
    const caller = startClusterCaller();
    const broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
    expect(() =>
      caller.configure({
        clusters: [
          { name: 'x', id: 'spiffe://example.org/x', endpoints: { static: ['127.0.0.1:1'] }, tls: { ca: broken } },
        ],
      }),
    ).toThrow(/tls\.ca of the cluster x/);
  });
});

describe('a client certificate', () => {
  const ca = createOutsideCa();
  const clients = createOutsideCa('Clients');
  const demanding = (): Promise<OutsideServer> =>
    startHttps({ ...ca.issue(['api.example']), requestCert: true, ca: clients.pem });
  const tls = { ca: ca.pem, clientCertificate: 'partner' };

  function folderWith({ cert, key }: Pem): string {
    const folder = join(temporaryFolder(), 'client-certificates');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'partner.crt'), cert);
    writeFileSync(join(folder, 'partner.key'), key, { mode: 0o600 });
    return folder;
  }
  const issue = (name: string): Pem => clients.issue([name], { purposes: purposes([clientAuth]) });

  test('is shown to a server that asks, and a replaced one from the next connection on', async () => {
    const server = await demanding();
    const folder = folderWith(issue('one.example'));
    const caller = startClusterCaller({ clientCertificates: folder, limits: { appIdleMs: 1_001 } });
    caller.configure(outside(server, tls));
    const seen = async () => JSON.parse((await caller.call('outside')).body).client;
    expect(await seen()).toBe('CN=one.example');
    const next = issue('two.example');
    writeFileSync(join(folder, 'partner.crt'), next.cert);
    writeFileSync(join(folder, 'partner.key'), next.key, { mode: 0o600 });
    for (const connection of [...caller.live.all('upstream')]) connection.cut();
    await expect.poll(seen, { timeout: 25_000 }).toBe('CN=two.example');
  });

  test('that is not given where it is demanded is told by its own code', async () => {
    const server = await demanding();
    await expect(callIt(server, { ca: ca.pem })).rejects.toMatchObject({
      code: 'UPSTREAM_CLIENT_CERTIFICATE_REFUSED',
      message: expect.stringMatching(/names none/),
    });
  });

  test('whose key others may read is not used', async () => {
    const server = await demanding();
    const folder = folderWith(issue('one.example'));
    chmodSync(join(folder, 'partner.key'), 0o644);
    const caller = startClusterCaller({ clientCertificates: folder });
    caller.configure(outside(server, tls));
    await expect(caller.call('outside')).rejects.toMatchObject({
      code: 'UPSTREAM_CLIENT_CERTIFICATE',
      message: expect.stringMatching(/mode 0644/),
    });
    chmodSync(join(folder, 'partner.key'), 0o600);
    expect(await caller.call('outside')).toMatchObject({ status: 200 });
  });

  test('that is not there is named with its place', async () => {
    const server = await demanding();
    const caller = startClusterCaller({ clientCertificates: temporaryFolder() });
    caller.configure(outside(server, tls));
    await expect(caller.call('outside')).rejects.toMatchObject({
      code: 'UPSTREAM_CLIENT_CERTIFICATE',
      message: expect.stringMatching(/partner\.key cannot be read/),
    });
  });

  test('of which the key belongs to another one is not used', async () => {
    const server = await demanding();
    const folder = folderWith({ cert: issue('one.example').cert, key: issue('two.example').key });
    const caller = startClusterCaller({ clientCertificates: folder });
    caller.configure(outside(server, tls));
    await expect(caller.call('outside')).rejects.toMatchObject({ code: 'UPSTREAM_CLIENT_CERTIFICATE' });
  });
});

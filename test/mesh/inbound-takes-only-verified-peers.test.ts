// The inbound listener against everything that is not a TLS 1.3 caller with an SVID of its own trust domain: nothing is served, one record
// with a stable reason is left, and the listener goes on serving others.
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, createSecureContext, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { type Identity, readIdentity, tlsContext, toPem } from '#spiffe';
import { connectCarelessly } from '../helpers/hostile-client.ts';
import { idOf, openRaw, openTls, type Pair, rawOn, startApp, startPair } from '../helpers/mesh.ts';
import { createTestPki, makeCertificate, san, uri } from '../helpers/pki.ts';

const run = promisify(execFile);

let pair: Pair;
beforeEach(async () => {
  pair = await startPair({
    app: await startApp((_, response) => response.end('served')),
    paymentsLimits: { handshakeMs: 300 },
  });
});

const port = (): number => pair.payments.addresses.inbound.port;

/** The reason of the one connection record, after it was seen that others are still served. */
async function refusal(): Promise<string> {
  await pair.payments.recorded(1);
  const client = await openTls({ pki: pair.pki, proxy: pair.payments, identity: pair.web.identity });
  client.send('GET / HTTP/1.1\r\nhost: payments\r\nconnection: close\r\n\r\n');
  expect(await client.closed()).toContain('served');
  const refused = pair.payments.records.filter(({ kind }) => kind === 'connection');
  expect(refused).toHaveLength(1);
  expect(pair.payments.metrics.render()).toContain(
    `postern_connections_refused_total{reason="${refused[0]!.reason}"} 1`,
  );
  return refused[0]!.reason;
}

/** `openssl s_client` with the caller's own certificate unless `bare`. */
async function sClient(args: readonly string[], o: { bare?: boolean } = {}): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'postern-tls-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const { identity } = pair.web;
  writeFileSync(join(folder, 'chain.pem'), identity.chain.map(toPem).join(''));
  writeFileSync(join(folder, 'key.pem'), identity.key.export({ format: 'pem', type: 'pkcs8' }));
  const own = o.bare
    ? []
    : ['-cert', join(folder, 'chain.pem'), '-cert_chain', join(folder, 'chain.pem'), '-key', join(folder, 'key.pem')];
  const child = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${port()}`, '-ign_eof', ...own, ...args]);
  onTestFinished(() => void child.kill());
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (bytes: Buffer) => (text += bytes.toString('latin1')));
  child.stdin.on('error', () => undefined);
  child.stdin.write('GET / HTTP/1.1\r\nhost: payments\r\nconnection: close\r\n\r\n');
  await new Promise((resolve) => child.once('close', resolve));
  return text;
}

describe('protocol', () => {
  test('a caller with everything right is served', async () => {
    expect(await sClient(['-tls1_3', '-alpn', 'http/1.1'])).toContain('served');
  });

  test.each(['-tls1', '-tls1_1', '-tls1_2'])('T21: %s gets nothing', async (version) => {
    const text = await sClient([version, '-cipher', 'ALL:@SECLEVEL=0']);
    expect(text).not.toContain('served');
    expect(text).toMatch(/alert protocol version|no protocols available|wrong version/);
    if (version === '-tls1_2') expect(await refusal()).toBe('TLS_VERSION_UNSUPPORTED');
  });

  test('T22: renegotiation, early data and pre-shared keys get nothing', async () => {
    expect(
      await sClient(['-tls1_3', '-psk', 'abcd', '-psk_identity', 'x', '-allow_no_dhe_kex'], { bare: true }),
    ).not.toContain('served');
    expect(await sClient(['-tls1_3', '-alpn', 'http/1.1'])).not.toMatch(/Max Early Data: [1-9]/);
    expect(await sClient(['-tls1_3', '-alpn', 'http/1.1'])).toContain('Secure Renegotiation IS NOT supported');
  });

  test('T23, T24, T25: a session is never resumed', async () => {
    const shared = { pki: pair.pki, proxy: pair.payments, identity: pair.web.identity };
    const first = await openTls(shared);
    const session = new Promise<Buffer>((resolve) => first.socket.once('session', resolve));
    first.send('GET / HTTP/1.1\r\nhost: payments\r\n\r\n');
    const again = await openTls({ ...shared, session: await session });
    expect((again.socket as TLSSocket).isSessionReused()).toBe(false);
    again.send('GET / HTTP/1.1\r\nhost: payments\r\n\r\n');
    await again.until(/served/);
  });

  test.each([
    ['no ALPN', [], 'TLS_ALPN_UNSUPPORTED'],
    ['h2c only', ['-alpn', 'h2c'], 'TLS_ALPN_UNSUPPORTED'],
    [
      '60 protocols, none of them ours',
      ['-alpn', Array.from({ length: 60 }, (_, index) => `p${index}`).join(',')],
      'TLS_ALPN_UNSUPPORTED',
    ],
  ])('T31: %s is refused', async (_, args, reason) => {
    expect(await sClient(['-tls1_3', ...args])).not.toContain('served');
    expect(await refusal()).toBe(reason);
  });

  test.each([
    ['none', ['-noservername']],
    ['unknown', ['-servername', 'nobody.example']],
    ['in upper case', ['-servername', 'PAYMENTS']],
    ['of 250 bytes', ['-servername', `${'a.'.repeat(120)}b`]],
  ])('T30: a server name that is %s changes nothing', async (_, args) => {
    expect(await sClient(['-tls1_3', '-alpn', 'http/1.1', ...args])).toContain('served');
  });
});

describe('certificates', () => {
  const connectAs = (identity: Pick<Identity, 'key' | 'chain'> | undefined): Promise<string> =>
    new Promise((resolve) => {
      const socket = connectTls({
        host: '127.0.0.1',
        port: port(),
        ...(identity && {
          secureContext: createSecureContext(tlsContext({ identity: identity as Identity, bundle: pair.pki.bundle })),
        }),
        ca: toPem(pair.pki.root.der),
        ALPNProtocols: ['http/1.1'],
        minVersion: 'TLSv1.3',
        servername: '',
        checkServerIdentity: () => undefined,
      });
      let text = '';
      socket.on('secureConnect', () => socket.write('GET / HTTP/1.1\r\nhost: payments\r\nconnection: close\r\n\r\n'));
      socket.on('data', (bytes) => (text += bytes.toString()));
      socket.on('error', () => undefined);
      socket.on('close', () => resolve(text));
    });
  const leaf = (wish: Parameters<typeof makeCertificate>[0] = {}) =>
    pair.pki.leaf({ san: san([uri(idOf('web'))], true), ...wish });
  const hour = 3_600_000;
  const foreign = createTestPki();

  const bad: readonly (readonly [string, () => Pick<Identity, 'key' | 'chain'> | undefined, string])[] = [
    ['T27: no certificate', () => undefined, 'TLS_CERTIFICATE_MISSING'],
    [
      'T1: an expired certificate',
      () => leaf({ notAfter: pair.web.identity.notBefore - hour, notBefore: pair.web.identity.notBefore - 2 * hour }),
      'TLS_CERTIFICATE_EXPIRED',
    ],
    [
      'T2: one that is not valid yet',
      () => leaf({ notBefore: pair.web.identity.notAfter + hour, notAfter: pair.web.identity.notAfter + 2 * hour }),
      'TLS_CERTIFICATE_NOT_YET_VALID',
    ],
    ['T3: one of another CA', () => foreign.identity(idOf('web')), 'TLS_CERTIFICATE_UNTRUSTED'],
    [
      'T4: a self-signed one',
      () => {
        const made = makeCertificate();
        return { chain: [made.der], key: made.keys.privateKey };
      },
      'TLS_CERTIFICATE_UNTRUSTED',
    ],
    [
      'T5: a foreign trust domain under our own CA',
      () => leaf({ san: san([uri('spiffe://other.org/web')], true) }),
      'IDENTITY_FOREIGN',
    ],
    [
      'T6: two URI names',
      () => leaf({ san: san([uri(idOf('web')), uri(idOf('admin'))], true) }),
      'IDENTITY_SAN_INVALID',
    ],
    ['T7: no name', () => leaf({ san: undefined }), 'IDENTITY_SAN_INVALID'],
    ['28: NUL in the name', () => leaf({ san: san([uri(`${idOf('web')}\0x`)], true) }), 'IDENTITY_'],
    ['24: CR LF in the name', () => leaf({ san: san([uri(`${idOf('web')}\r\nx: y`)], true) }), 'IDENTITY_'],
  ];
  test.each(bad)('%s gets nothing and is recorded', async (_, make, reason) => {
    expect(await connectAs(make())).not.toContain('served');
    expect(await refusal()).toContain(reason);
  });
});

describe('bytes', () => {
  test.each([
    ['T29: plain HTTP', 'GET / HTTP/1.1\r\nhost: payments\r\n\r\n', /^TLS_NOT_TLS$/],
    ['T29: noise', Buffer.from(Array.from({ length: 400 }, (_, index) => (index * 7919) % 251)), /^TLS_/],
    ['T35: a flood of change-cipher-spec records', Buffer.from('140303000101'.repeat(5_000), 'hex'), /^TLS_/],
    ['T35: a flood of empty records', Buffer.from('1603010000'.repeat(5_000), 'hex'), /^TLS_/],
  ])('%s is closed quickly', async (_, bytes, reason) => {
    const client = await openRaw(port());
    client.send(bytes);
    await client.closed();
    expect(await refusal()).toMatch(reason);
  });

  test('T29: a caller that connects and leaves is no fault of ours', async () => {
    const client = await openRaw(port());
    client.socket.destroy();
    expect(await refusal()).toBe('TLS_HANDSHAKE_CLOSED');
  });

  test('T28: a handshake that never ends is dropped at its limit', async () => {
    const client = await openRaw(port());
    const started = performance.now();
    client.send(Buffer.from('16030100c8010000c40303', 'hex'));
    await client.closed();
    expect(performance.now() - started).toBeLessThan(1_500);
    expect(await refusal()).toBe('TLS_HANDSHAKE_TIMEOUT');
  });

  test('T29: TLS to the plain outbound port is answered 400 and closed', async () => {
    const client = await openRaw(pair.web.addresses.outbound.port);
    client.send(Buffer.from('1603010200010001fc03030000000000000000000000000a', 'hex'));
    expect(await client.closed()).toMatch(/^HTTP\/1\.1 400 /);
  });
});

test('T35: a flood of key updates does no harm', async () => {
  const version = (await run('openssl', ['version'])).stdout;
  expect(version).toMatch(/OpenSSL 3/);
  const client = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${port()}`, '-tls1_3', '-alpn', 'http/1.1'], {
    stdio: 'pipe',
  });
  onTestFinished(() => void client.kill());
  client.stdin.on('error', () => undefined);
  client.stdin.write('K\n'.repeat(200));
  client.stdin.end();
  await new Promise((resolve) => client.once('close', resolve));
  expect(await refusal()).toBe('TLS_CERTIFICATE_MISSING');
});

test('a proxy whose own identity has expired serves nobody, not even a caller that would not mind', async () => {
  const { pki, payments, web } = pair;
  const wish = { san: san([uri(idOf('payments'))], true), notAfter: Math.floor(Date.now() / 1_000) * 1_000 - 1_000 };
  payments.plane.setIdentity(readIdentity(pki.leaf(wish)));
  // A hostile client: a proper one would refuse the certificate itself.
  const socket = connectCarelessly({
    ...{ host: '127.0.0.1', port: port(), ALPNProtocols: ['http/1.1'] },
    secureContext: createSecureContext(tlsContext({ identity: web.identity, bundle: pki.bundle })),
  });
  socket.write('GET / HTTP/1.1\r\nhost: payments\r\nconnection: close\r\n\r\n');
  expect(await rawOn(socket).closed()).not.toContain('served');
  expect(await payments.recorded(1)).toMatchObject([{ kind: 'connection', reason: 'TLS_NOT_READY' }]);
});

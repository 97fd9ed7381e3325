// What OpenSSL and Java make of our certificates and listeners.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Running, runPostern } from '../../cli/demo/processes.ts';
import { type PeerMesh, type SidecarReady, startPeerMesh } from './mesh.ts';
import { programPath } from './programs.ts';

let mesh: PeerMesh;
let web: Running<SidecarReady>;
let home: string;

beforeAll(async () => {
  mesh = await startPeerMesh();
  home = join(mesh.folder, 'web');
  web = await mesh.sidecar({ service: 'web', app: '127.0.0.1:1', home });
  const { bundle } = JSON.parse(readFileSync(join(mesh.home, 'bundle.json'), 'utf8')) as { bundle: string };
  const { keys } = JSON.parse(bundle) as { keys: readonly { x5c: readonly string[] }[] };
  const pem = keys.map(
    ({ x5c }) => `-----BEGIN CERTIFICATE-----\n${x5c[0]!.match(/.{1,64}/g)!.join('\n')}\n-----END CERTIFICATE-----\n`,
  );
  writeFileSync(join(mesh.folder, 'roots.pem'), pem.join(''));
});

afterAll(() => mesh?.end());

test('openssl verify -x509_strict accepts the leaf of a sidecar and of the admin, for both purposes', () => {
  for (const svid of [join(home, 'sidecar', 'svid.pem'), join(mesh.home, 'admin', 'svid.pem')])
    for (const purpose of ['sslclient', 'sslserver']) {
      const roots = join(mesh.folder, 'roots.pem');
      const done = openssl(['verify', '-x509_strict', '-purpose', purpose, '-CAfile', roots, '-untrusted', svid, svid]);
      expect(done.out).toContain(`${svid}: OK`);
    }
});

test.each([
  ['without a certificate', [], 'TLS_CERTIFICATE_MISSING'],
  ['with TLS 1.2', ['-tls1_2'], 'TLS_VERSION_UNSUPPORTED'],
  ['with a certificate of somebody else', ['foreign'], 'TLS_CERTIFICATE_UNTRUSTED'],
])('openssl s_client %s gets nothing from an inbound listener, and the record says why', async (_, extra, reason) => {
  const key = join(mesh.folder, 'foreign.key');
  const cert = join(mesh.folder, 'foreign.pem');
  openssl([
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-subj',
    '/CN=x',
    '-keyout',
    key,
    '-out',
    cert,
  ]);
  const more = extra[0] === 'foreign' ? ['-cert', cert, '-key', key] : extra;
  const { out } = openssl([...sClient(), ...more], 'GET / HTTP/1.1\r\nHost: web\r\n\r\n');
  expect(out).not.toContain('HTTP/1.1 ');
  const found = async () => (await mesh.json<{ records: unknown[] }>('audit', 'query', '--reason', reason)).records;
  await expect.poll(found, { timeout: 10_000 }).toHaveLength(1);
});

test('openssl s_client with a certificate of the mesh gets an answer from the same listener', () => {
  const [cert, key] = [join(home, 'sidecar', 'svid.pem'), join(home, 'sidecar', 'key.pem')];
  const chain = ['-cert', cert, '-cert_chain', cert, '-key', key];
  const request = 'GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n';
  const { out } = openssl([...sClient(), ...chain], request);
  expect(out).toContain('HTTP/1.1 403');
});

test('an exported key store opens in openssl and in keytool, and with no other password', async () => {
  const store = join(mesh.folder, 'web.p12');
  const password = join(mesh.folder, 'password');
  writeFileSync(password, 'correct horse', { mode: 0o600 });
  const done = await runPostern(['identity', 'export', '--home', home, '--pkcs12', store, '--password-file', password]);
  expect(done).toMatchObject({ code: 0 });
  expect(openssl(['pkcs12', '-in', store, '-passin', `file:${password}`, '-nokeys']).out).toContain(
    'BEGIN CERTIFICATE',
  );
  expect(openssl(['pkcs12', '-in', store, '-passin', 'pass:wrong', '-nokeys']).code).not.toBe(0);
  const keytool = spawnSync(
    programPath('keytool'),
    ['-list', '-keystore', store, '-storetype', 'PKCS12', '-storepass', 'correct horse'],
    { encoding: 'utf8' },
  );
  expect(keytool.stdout).toContain('PrivateKeyEntry');
});

/** Offers what the listener speaks, so that only the certificate or the version can be what it refuses. */
function sClient(): string[] {
  return ['s_client', '-connect', web.ready.inbound, '-alpn', 'http/1.1', '-ign_eof'];
}

function openssl(args: readonly string[], input = ''): { code: number | null; out: string } {
  const { status, stdout, stderr } = spawnSync(programPath('openssl'), args, {
    input,
    encoding: 'latin1',
    timeout: 20_000,
  });
  return { code: status, out: stdout + stderr };
}

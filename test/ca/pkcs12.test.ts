import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { exportPkcs12 } from '#ca';
import type { Identity } from '#spiffe';
import { createTestAuthority, type TestAuthority } from '../helpers/pki.ts';

let ca: TestAuthority;
let identity: Identity;
let path: string;
beforeAll(async () => {
  ca = await createTestAuthority();
  identity = await ca.enrol('shop/payments');
  path = join(ca.home, 'payments.p12');
  writeFileSync(
    path,
    await exportPkcs12({ identity, bundle: ca.authority.bundle(), password: 'changeit', name: 'payments' }),
  );
});
afterAll(() => ca.close());

const openssl = (...args: string[]) =>
  execFileSync('openssl', ['pkcs12', '-in', path, ...args], { stdio: ['ignore', 'pipe', 'pipe'] }).toString();

it('openssl reads the key and the whole chain from a key store', () => {
  const text = openssl('-passin', 'pass:changeit', '-nodes');
  const certificates = text.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g)!;
  expect(certificates.map((pem) => new X509Certificate(pem).fingerprint256)).toEqual(
    [...identity.chain, ...ca.authority.bundle().roots].map((der) => new X509Certificate(der).fingerprint256),
  );
  expect(new X509Certificate(certificates[0]!).checkPrivateKey(identity.key)).toBe(true);
  const key = text.match(/-----BEGIN PRIVATE KEY-----[\s\S]*?-----END PRIVATE KEY-----/)![0];
  expect(`${key}\n`).toBe(identity.key.export({ format: 'pem', type: 'pkcs8' }));
  expect(text).toMatch(/friendlyName: payments/);
});

it('a key store is encrypted with AES-256 and PBKDF2, and a wrong password opens nothing', () => {
  expect(() => openssl('-passin', 'pass:wrong', '-nodes')).toThrowError(/Mac verify error|invalid password/i);
  const info = execFileSync('sh', [
    '-c',
    `openssl pkcs12 -in ${path} -passin pass:changeit -noout -info 2>&1`,
  ]).toString();
  expect(info).toMatch(/PBES2, PBKDF2, AES-256-CBC, Iteration 100000, PRF hmacWithSHA256/);
  expect(info).toMatch(/MAC: sha256/);
});

it('a password that keytool would refuse is refused', async () => {
  await expect(
    exportPkcs12({ identity, bundle: ca.authority.bundle(), password: 'short', name: 'x' }),
  ).rejects.toThrowError(expect.objectContaining({ code: 'PKCS12_PASSWORD' }));
});

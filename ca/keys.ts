// Where private keys rest: one PKCS#8 file each, 0600, encrypted when there is a passphrase. A file that others can read, or that is torn,
// is refused with the exact fix; a key is never made to stand in for one that is missing.
import { createCipheriv, createPrivateKey, type KeyObject, randomBytes, scryptSync } from 'node:crypto';
import { readPrivateFile, writeFileAtomic } from '#base/files';
import { octets, oid, sequence, smallInteger } from '#spiffe';
import { fail } from './errors.ts';

/** scrypt (RFC 7914) cost: 16 MiB and some 200 ms, the most that OpenSSL's own PKCS#8 reader allows in memory. */
const cost = { N: 16_384, r: 8, p: 5 } as const;
const encryptedHeader = '-----BEGIN ENCRYPTED PRIVATE KEY-----';

/** Writes the key durably; on return it can be read back after a crash. */
export function writeKey(o: {
  readonly path: string;
  readonly key: KeyObject;
  readonly passphrase?: Buffer | undefined;
}): void {
  const plain = o.key.export({ format: 'der', type: 'pkcs8' });
  const text = o.passphrase ? pem('ENCRYPTED PRIVATE KEY', encryptKey(plain, o.passphrase)) : pem('PRIVATE KEY', plain);
  plain.fill(0);
  writeFileAtomic(o.path, text, 0o600);
}

/** Reads a key file; throws `FILE_*`, `CA_PASSPHRASE_*` or `CA_KEY_UNREADABLE`, each naming the path. */
export function readKey(o: { readonly path: string; readonly passphrase?: Buffer | undefined }): KeyObject {
  const bytes = readPrivateFile(o.path);
  try {
    return parseKey({ ...o, pem: bytes });
  } finally {
    bytes.fill(0);
  }
}

/** Parses a private key in PEM; `path` is only for the error. */
export function parseKey(o: {
  readonly pem: Buffer | string;
  readonly path: string;
  readonly passphrase?: Buffer | undefined;
}): KeyObject {
  const { path } = o;
  if (o.pem.length === 0) throw fail('CA_KEY_UNREADABLE', { path, reason: 'it is empty' });
  const encrypted = isEncryptedKey(o.pem);
  if (encrypted && !o.passphrase) throw fail('CA_PASSPHRASE_NEEDED', { path });
  try {
    return createPrivateKey({ key: o.pem, format: 'pem', ...(encrypted && { passphrase: o.passphrase! }) });
  } catch (cause) {
    if (encrypted && isWholePem(o.pem)) throw fail('CA_PASSPHRASE_WRONG', { path }, { cause });
    throw fail('CA_KEY_UNREADABLE', { path, reason: 'it is torn or not PEM' }, { cause });
  }
}

export function isEncryptedKey(pem: Buffer | string): boolean {
  const text = pem.toString('latin1');
  return text.includes(encryptedHeader) || text.includes('Proc-Type: 4,ENCRYPTED');
}

/** EncryptedPrivateKeyInfo (RFC 5958) with PBES2: scrypt and AES-256-CBC, which `openssl pkey` reads too. */
function encryptKey(plain: Buffer, passphrase: Buffer): Buffer {
  const salt = randomBytes(16);
  const iv = randomBytes(16);
  const key = scryptSync(passphrase, salt, 32, cost);
  const cipher = createCipheriv('aes-256-cbc', key, iv);
  const encrypted = Buffer.concat([cipher.update(plain), cipher.final()]);
  key.fill(0);
  const derivation = sequence(
    oid('1.3.6.1.4.1.11591.4.11'),
    sequence(octets(salt), smallInteger(cost.N), smallInteger(cost.r), smallInteger(cost.p), smallInteger(32)),
  );
  const encryption = sequence(oid('2.16.840.1.101.3.4.1.42'), octets(iv));
  return sequence(sequence(oid('1.2.840.113549.1.5.13'), sequence(derivation, encryption)), octets(encrypted));
}

function pem(label: string, bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

function isWholePem(text: Buffer | string): boolean {
  return /-----END [A-Z ]*PRIVATE KEY-----\s*$/.test(text.toString('latin1'));
}

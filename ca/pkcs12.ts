// How does a JVM or a browser get an identity? A PKCS#12 key store (RFC 7292) with AES-256 and PBKDF2-SHA-256, assembled with node-forge, which
// only this file loads, and only when asked. It holds a private key in the open to whoever knows the password: short lives still apply.
import { randomBytes } from 'node:crypto';
import type { asn1 as Asn1 } from 'node-forge';
import { type Identity, readCertificate, type TrustBundle } from '#spiffe';
import { fail } from './errors.ts';

/** PBKDF2 rounds for the key, and PKCS#12 KDF rounds for the integrity check (the rounds that Java writes itself). */
const keyRounds = 100_000;
const macRounds = 10_000;
const shortestPassword = 6;

/** The file's bytes: key and chain (with the root) under one alias. Throws `PKCS12_PASSWORD` for one that keytool would refuse. */
export async function exportPkcs12(o: {
  readonly identity: Identity;
  readonly bundle: TrustBundle;
  readonly password: string;
  readonly name: string;
}): Promise<Buffer> {
  if (o.password.length < shortestPassword) throw fail('PKCS12_PASSWORD', { least: shortestPassword });
  const { default: forge } = await import('node-forge');
  const { asn1, pki, pkcs12, util } = forge;
  const { Type, Class } = asn1;
  const localKeyId = randomBytes(20).toString('latin1');

  const universal = (type: number, isConstructed: boolean, value: string | Asn1.Asn1[]) =>
    asn1.create(Class.UNIVERSAL, type, isConstructed, value);
  const sequence = (...values: Asn1.Asn1[]) => universal(Type.SEQUENCE, true, values);
  const oid = (name: string) => universal(Type.OID, false, asn1.oidToDer(pki.oids[name] ?? name).getBytes());
  const octets = (bytes: string) => universal(Type.OCTETSTRING, false, bytes);
  const explicit = (value: Asn1.Asn1) => asn1.create(Class.CONTEXT_SPECIFIC, 0, true, [value]);
  const derOf = (value: Asn1.Asn1) => asn1.toDer(value).getBytes();
  const attribute = (name: string, value: Asn1.Asn1) => sequence(oid(name), universal(Type.SET, true, [value]));
  const alias = universal(Type.BMPSTRING, false, o.name);
  const attributes = universal(Type.SET, true, [
    attribute('friendlyName', alias),
    attribute('localKeyId', octets(localKeyId)),
  ]);
  const data = (content: Asn1.Asn1) => sequence(oid('data'), explicit(octets(derOf(content))));

  const chain = [...o.identity.chain, ...o.bundle.roots.filter((root) => isAbove(root, o.identity))];
  const certificates = chain.map((der, index) => {
    const certificate = sequence(oid('x509Certificate'), explicit(octets(Buffer.from(der).toString('latin1'))));
    return sequence(oid('certBag'), explicit(certificate), ...(index === 0 ? [attributes] : []));
  });
  const plain = o.identity.key.export({ format: 'der', type: 'pkcs8' });
  const shrouded = pki.encryptPrivateKeyInfo(asn1.fromDer(util.createBuffer(plain.toString('latin1'))), o.password, {
    algorithm: 'aes256',
    count: keyRounds,
    saltSize: 16,
    prfAlgorithm: 'sha256',
  } as Parameters<typeof pki.encryptPrivateKeyInfo>[2]);
  plain.fill(0);
  const key = sequence(oid('pkcs8ShroudedKeyBag'), explicit(shrouded), attributes);

  const safe = derOf(sequence(data(sequence(...certificates)), data(sequence(key))));
  const salt = randomBytes(16).toString('latin1');
  const digest = forge.md.sha256.create();
  const generateKey = (pkcs12 as unknown as { generateKey: GenerateKey }).generateKey;
  const macKey = generateKey(o.password, util.createBuffer(salt), 3, macRounds, 32, digest);
  const mac = forge.hmac.create();
  mac.start('sha256', macKey);
  mac.update(safe);
  const integer = (value: number) => universal(Type.INTEGER, false, asn1.integerToDer(value).getBytes());
  const digestInfo = sequence(
    sequence(oid('sha256'), universal(Type.NULL, false, '')),
    octets(mac.digest().getBytes()),
  );
  const store = sequence(
    integer(3),
    sequence(oid('data'), explicit(octets(safe))),
    sequence(digestInfo, octets(salt), integer(macRounds)),
  );
  return Buffer.from(derOf(store), 'latin1');
}

type GenerateKey = (
  password: string,
  salt: import('node-forge').util.ByteStringBuffer,
  purpose: number,
  rounds: number,
  length: number,
  digest: import('node-forge').md.MessageDigest,
) => import('node-forge').util.ByteStringBuffer;

/** The root that the chain ends in, judged by name: it only completes the picture for tools that show chains. */
function isAbove(root: Uint8Array, identity: Identity): boolean {
  const last = identity.chain.at(-1);
  return last !== undefined && Buffer.compare(readCertificate(last).issuer, readCertificate(root).subject) === 0;
}

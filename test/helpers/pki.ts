// Certificates for tests: a throw-away authority in a temporary home, and a hand of bad certificates, each wrong in exactly one way.
// Bad ones are written straight to DER, so that nothing between the test and the bytes can make them good again.
import { createHash, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, systemClock } from '#base/clock';
import { type Authority, type AuthorityOptions, type CaSettings, initAuthority } from '#ca';
import {
  bits,
  createCsr,
  createKeyPair,
  der,
  extensionId,
  type Identity,
  octets,
  oid,
  readChildren,
  readDer,
  readIdentity,
  sequence,
  signatureAlgorithmOf,
  signWith,
  smallInteger,
  spiffeIdOf,
  type TrustBundle,
  time,
  unsignedInteger,
} from '#spiffe';

export interface KeyPair {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

export interface TestAuthority {
  readonly authority: Authority;
  readonly home: string;
  readonly trustDomain: string;
  /** An identity of a service, got with a token as a sidecar would. */
  enrol(service: string): Promise<Identity>;
  /** Closes the authority and deletes its home. */
  close(): void;
}

/** A real authority in its own temporary home. */
export async function createTestAuthority(
  o: {
    readonly trustDomain?: string;
    readonly clock?: Clock;
    readonly settings?: Partial<CaSettings>;
    readonly onEvent?: NonNullable<AuthorityOptions['onEvent']>;
    readonly home?: string;
  } = {},
): Promise<TestAuthority> {
  const { trustDomain = 'example.org', clock = systemClock, settings, onEvent } = o;
  const home = o.home ?? createTestHome();
  const authority = await initAuthority({
    home,
    trustDomain,
    clock,
    ...(settings && { settings }),
    ...(onEvent && { onEvent }),
  });
  return {
    authority,
    home,
    trustDomain,
    async enrol(service) {
      const id = spiffeIdOf({ trustDomain, service });
      const { token } = await authority.createToken({
        service: id,
        url: 'https://127.0.0.1:1',
        ttlMs: 60_000,
        by: 'test',
      });
      const key = createKeyPair();
      const { chain } = await authority.enrol({ token, csr: createCsr(key) });
      return readIdentity({ key: key.privateKey, chain });
    },
    close() {
      authority.close();
      if (!o.home) rmSync(home, { recursive: true, force: true });
    },
  };
}

/** A new empty folder; the caller deletes it. */
export function createTestHome(): string {
  return mkdtempSync(join(tmpdir(), 'postern-test-'));
}

/** What a certificate is to say; everything left out is as a good leaf of ours has it. Extensions are DER by object identifier. */
export interface CertificateWish {
  readonly keys?: KeyPair;
  /** The signer; itself when absent. */
  readonly issuer?: Made;
  /** Sign with this key although the issuer is another. */
  readonly signingKey?: KeyObject;
  readonly subject?: Uint8Array;
  readonly notBefore?: number;
  readonly notAfter?: number;
  /** The whole INTEGER. */
  readonly serial?: Uint8Array;
  readonly san?: Uint8Array | undefined;
  readonly keyUsage?: Uint8Array | undefined;
  readonly purposes?: Uint8Array | undefined;
  readonly basicConstraints?: Uint8Array | undefined;
  readonly more?: readonly Uint8Array[];
  readonly publicKey?: Uint8Array;
  readonly algorithm?: { readonly inner?: Uint8Array; readonly outer?: Uint8Array };
  /** The signature itself, in place of a true one. */
  readonly signature?: (tbs: Uint8Array) => Uint8Array;
}

export interface Made {
  readonly der: Uint8Array;
  readonly keys: KeyPair;
  readonly subject: Uint8Array;
}

const hour = 3_600_000;

/** One certificate as wished; a good leaf for `spiffe://example.org/web` when nothing is wished. */
export function makeCertificate(wish: CertificateWish = {}): Made {
  const keys = wish.keys ?? createKeyPair();
  const signer = wish.signingKey ?? wish.issuer?.keys.privateKey ?? keys.privateKey;
  const subject = wish.subject ?? sequence();
  const algorithm = wish.algorithm?.inner ?? signatureAlgorithmOf(signer);
  const publicKey = wish.publicKey ?? keys.publicKey.export({ format: 'der', type: 'spki' });
  const now = Math.floor(systemClock.now() / 1_000) * 1_000;
  const has = (name: keyof CertificateWish) => name in wish;
  const extensions = [
    has('san') ? wish.san : san([uri('spiffe://example.org/web')], true),
    has('keyUsage') ? wish.keyUsage : keyUsage(['digitalSignature']),
    has('purposes') ? wish.purposes : purposes([serverAuth, clientAuth]),
    has('basicConstraints') ? wish.basicConstraints : undefined,
    keyId(publicKey),
    ...(wish.more ?? []),
  ].filter((extension) => extension !== undefined);
  const tbs = sequence(
    der(0xa0, smallInteger(2)),
    wish.serial ?? unsignedInteger(positive(randomBytes(16))),
    algorithm,
    wish.issuer?.subject ?? subject,
    sequence(time(wish.notBefore ?? now - hour), time(wish.notAfter ?? now + hour)),
    subject,
    publicKey,
    ...(extensions.length > 0 ? [der(0xa3, sequence(...extensions))] : []),
  );
  const signature = wish.signature ? wish.signature(tbs) : signWith(signer, tbs).signature;
  return { der: sequence(tbs, wish.algorithm?.outer ?? algorithm, bits(signature)), keys, subject };
}

/** A CA certificate: self-signed, or under `issuer`. */
export function makeCa(wish: CertificateWish & { readonly name?: string; readonly pathLength?: number } = {}): Made {
  const { name = `CA ${randomBytes(4).toString('hex')}`, pathLength } = wish;
  return makeCertificate({
    subject: nameOf(name),
    san: undefined,
    purposes: undefined,
    keyUsage: keyUsage(['keyCertSign', 'cRLSign']),
    basicConstraints: basicConstraints(true, pathLength),
    ...wish,
  });
}

export interface TestPki {
  readonly root: Made;
  readonly issuing: Made;
  readonly bundle: TrustBundle;
  /** A leaf as wished, under the issuing CA; the chain has the issuing CA too. */
  leaf(wish?: CertificateWish): { readonly chain: readonly Uint8Array[]; readonly key: KeyObject };
  /** A good identity. */
  identity(uri?: string): Identity;
}

/** Root, issuing CA and bundle of one trust domain. */
export function createTestPki(trustDomain = 'example.org'): TestPki {
  const root = makeCa({ name: `${trustDomain} root`, pathLength: 1 });
  const issuing = makeCa({
    name: `${trustDomain} issuing ${randomBytes(4).toString('hex')}`,
    issuer: root,
    pathLength: 0,
  });
  const bundle: TrustBundle = { trustDomain, roots: [root.der], sequence: 1n, refreshHint: 300 };
  const leaf = (wish: CertificateWish = {}) => {
    const made = makeCertificate({ issuer: issuing, ...wish });
    return { chain: [made.der, issuing.der], key: made.keys.privateKey };
  };
  return {
    root,
    issuing,
    bundle,
    leaf,
    identity(text = `spiffe://${trustDomain}/web`) {
      return readIdentity(leaf({ san: san([uri(text)], true) }));
    },
  };
}

export const serverAuth = '1.3.6.1.5.5.7.3.1';
export const clientAuth = '1.3.6.1.5.5.7.3.2';

export function uri(value: string | Uint8Array): Uint8Array {
  return der(0x86, typeof value === 'string' ? Buffer.from(value, 'latin1') : value);
}

export function dnsName(value: string): Uint8Array {
  return der(0x82, Buffer.from(value, 'latin1'));
}

export function email(value: string): Uint8Array {
  return der(0x81, Buffer.from(value, 'latin1'));
}

export function san(names: readonly Uint8Array[], isCritical: boolean): Uint8Array {
  return extension(extensionId.subjectAltName, sequence(...names), isCritical);
}

const usageBits = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
];

export function keyUsage(names: readonly string[], isCritical = true): Uint8Array {
  const set = names.map((name) => usageBits.indexOf(name));
  const last = Math.max(...set);
  const byte = set.reduce((sum, bit) => sum | (0x80 >> bit), 0);
  return extension(extensionId.keyUsage, der(0x03, Buffer.of(7 - last, byte)), isCritical);
}

export function purposes(ids: readonly string[], isCritical = false): Uint8Array {
  return extension(extensionId.extendedKeyUsage, sequence(...ids.map(oid)), isCritical);
}

export function basicConstraints(isCa: boolean, pathLength?: number, isCritical = true): Uint8Array {
  const content = isCa
    ? [der(0x01, Buffer.of(0xff)), ...(pathLength === undefined ? [] : [smallInteger(pathLength)])]
    : [];
  return extension(extensionId.basicConstraints, sequence(...content), isCritical);
}

export function extension(id: string, value: Uint8Array, isCritical: boolean): Uint8Array {
  return isCritical ? sequence(oid(id), der(0x01, Buffer.of(0xff)), octets(value)) : sequence(oid(id), octets(value));
}

/** A Name with one common name. */
export function nameOf(commonName: string): Uint8Array {
  return sequence(der(0x31, sequence(oid('2.5.4.3'), der(0x0c, Buffer.from(commonName)))));
}

export function rsaKeys(modulusLength: number): KeyPair {
  return generateKeyPairSync('rsa', { modulusLength });
}

export function ecKeys(namedCurve: string): KeyPair {
  return generateKeyPairSync('ec', { namedCurve });
}

function keyId(publicKey: Uint8Array): Uint8Array {
  const hash = createHash('sha256')
    .update(readChildren(readDer(publicKey))[1]?.content ?? Buffer.alloc(0))
    .digest();
  return extension(extensionId.subjectKey, octets(hash.subarray(0, 20)), false);
}

function positive(bytes: Buffer): Buffer {
  bytes[0] = (bytes[0]! & 0x3f) | 0x40;
  return bytes;
}

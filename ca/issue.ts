// Make one leaf: times within policy and within the issuer's life, a fresh serial, the fixed profile, and the independent check.
import { randomUUID } from 'node:crypto';
import type { SpiffeId, Svid } from '#spiffe';
import { fail } from './errors.ts';
import { type LeafContent, type Signer, signLeaf } from './profile.ts';
import { assertReleasable } from './release.ts';

export interface LeafRequest {
  readonly signer: Signer;
  readonly id: SpiffeId;
  /** DER of the SubjectPublicKeyInfo. */
  readonly publicKey: Uint8Array;
  readonly now: number;
  readonly ttlMs: number;
  readonly backdateMs: number;
  readonly dns?: readonly string[] | undefined;
  readonly ip?: readonly string[] | undefined;
  readonly serial?: () => Uint8Array;
}

/** An issuer with less life than this makes nothing any more. */
const shortestLife = 1_000;

/** The leaf's DER and what it says. Throws `CA_ISSUING_EXPIRED` when the issuer's life leaves no room for it. */
export function issueLeaf(o: LeafRequest): { readonly leaf: Uint8Array; readonly svid: Svid } {
  const { signer, id, publicKey } = o;
  const notBefore = Math.max(wholeSecond(o.now - o.backdateMs), signer.certificate.notBefore);
  const notAfter = Math.min(wholeSecond(o.now + o.ttlMs), signer.certificate.notAfter);
  if (signer.certificate.notAfter - o.now < shortestLife)
    throw fail('CA_ISSUING_EXPIRED', { notAfter: new Date(signer.certificate.notAfter).toISOString() });
  const decided: LeafContent = {
    id,
    serial: (o.serial ?? newSerial)(),
    publicKey,
    notBefore,
    notAfter,
    ...(o.dns && { dns: o.dns }),
    ...(o.ip && { ip: o.ip }),
  };
  const leaf = signLeaf(signer, decided);
  return { leaf, svid: assertReleasable({ leaf, signer, decided }) };
}

/**
 * 16 bytes with 120 random bits: positive, never zero, always of one length (C19, RFC 5280 section 4.1.2.2). A random UUID, because those
 * come from entropy that Node draws in bulk: a system call for each serial costs as much as half of the signature.
 */
export function newSerial(): Uint8Array {
  const serial = Buffer.from(randomUUID().replaceAll('-', ''), 'hex');
  serial[0] = (serial[0]! & 0x3f) | 0x40;
  return serial;
}

function wholeSecond(ms: number): number {
  return Math.floor(ms / 1_000) * 1_000;
}

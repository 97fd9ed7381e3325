// The trust bundle of one trust domain: the roots that its SVIDs must chain to (SPIFFE_Trust_Domain_and_Bundle.md, X509-SVID section 6).
// Published strictly, consumed leniently; a bundle without usable roots trusts nothing.
import { X509Certificate } from 'node:crypto';
import { fail } from './errors.ts';
import { parseTrustDomain } from './id.ts';

export interface TrustBundle {
  readonly trustDomain: string;
  /** DER of each root certificate. Empty means that every SVID of the domain is untrusted. */
  readonly roots: readonly Uint8Array[];
  /** Rises with every change of content (B-02). */
  readonly sequence: bigint;
  /** Seconds between two looks, as a hint (B-03). */
  readonly refreshHint: number;
}

/** The bundle as a SPIFFE JWKS document (B-04, B-07, X-15), with its trust domain beside it by the caller's means. */
export function formatBundle(bundle: TrustBundle): string {
  const keys = bundle.roots.map((der) => {
    const { kty, crv, x, y, n, e } = new X509Certificate(der).publicKey.export({ format: 'jwk' });
    return { kty, use: 'x509-svid', crv, x, y, n, e, x5c: [Buffer.from(der).toString('base64')] };
  });
  const document = { spiffe_sequence: '#', spiffe_refresh_hint: bundle.refreshHint, keys };
  return JSON.stringify(document, undefined, 2).replace('"#"', bundle.sequence.toString());
}

/** Reads a JWKS bundle for a known trust domain; throws `IDENTITY_BUNDLE_INVALID`. Entries that are not X.509 roots are skipped (B-05, X-16). */
export function parseBundle(trustDomain: string, text: string): TrustBundle {
  parseTrustDomain(trustDomain);
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw fail('IDENTITY_BUNDLE_INVALID', { reason: 'it is not JSON' }, { cause });
  }
  const { keys, spiffe_refresh_hint: hint } = (document ?? {}) as Record<string, unknown>;
  if (!Array.isArray(keys))
    throw fail('IDENTITY_BUNDLE_INVALID', { reason: 'it has no keys (an empty list is allowed)' });
  // JSON numbers lose precision above 2^53, so the sequence is read from the text (B-02).
  const sequence = /"spiffe_sequence"\s*:\s*([0-9]+)/.exec(text)?.[1];
  return {
    trustDomain,
    roots: keys.flatMap((key: unknown) => rootOf(key)),
    sequence: BigInt(sequence ?? 0),
    refreshHint: Number.isSafeInteger(hint) && (hint as number) > 0 ? (hint as number) : 300,
  };
}

/** The roots as one PEM text, for TLS contexts and for tools. */
export function bundlePem(bundle: TrustBundle): string {
  return bundle.roots.map(toPem).join('');
}

/** One certificate's DER as PEM (RFC 7468). */
export function toPem(der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

function rootOf(key: unknown): Uint8Array[] {
  const { use, kty, x5c } = (key ?? {}) as Record<string, unknown>;
  if (use !== 'x509-svid' || typeof kty !== 'string' || !Array.isArray(x5c) || typeof x5c[0] !== 'string') return [];
  try {
    const certificate = new X509Certificate(Buffer.from(x5c[0], 'base64'));
    return certificate.ca ? [certificate.raw] : [];
  } catch {
    return [];
  }
}

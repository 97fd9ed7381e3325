// What a join token says, read without verifying its signature: that is the control plane's part. Here it only tells where to go and
// whom to trust on the first contact, so nothing in it is believed beyond that.
import { X509Certificate } from 'node:crypto';
import { messageOf } from '#base/error';
import { check } from '#base/schema';
import { parseSpiffeId, parseTrustDomain, type SpiffeId, type TrustBundle } from '#spiffe';
import { type JoinTokenClaims, joinTokenClaims, joinTokenType } from '#wire';
import { fail } from './errors.ts';

export interface JoinToken {
  readonly text: string;
  /** The token's own id: the pending key goes by it. */
  readonly id: string;
  readonly service: SpiffeId;
  readonly url: string;
  /** Exactly the token's roots: the whole trust of the first contact. */
  readonly bundle: TrustBundle;
}

/** Far above any real token, and small enough to decode without a thought. */
const longestToken = 128 * 1024;

/** Reads a pasted token at wall time `now`; throws SIDECAR_TOKEN_UNREADABLE or SIDECAR_TOKEN_EXPIRED. */
export function readJoinToken(pasted: string, now: number): JoinToken {
  const text = pasted.trim();
  const refuse = (reason: string, cause?: unknown) => fail('SIDECAR_TOKEN_UNREADABLE', { reason }, { cause });
  if (text.length > longestToken) throw refuse(`it is longer than ${longestToken} characters`);
  const parts = text.split('.');
  if (parts.length !== 3 || parts.some((part) => !/^[A-Za-z0-9_-]+$/.test(part))) {
    throw refuse('it does not have the three parts of a signed token; a piece may be missing');
  }
  const [header, claims] = parts.slice(0, 2).map(decodeJson);
  if ((header as { typ?: unknown } | undefined)?.typ !== joinTokenType) throw refuse('it is a token of another kind');
  const [problem] = check(joinTokenClaims, claims);
  if (problem) throw refuse(`${problem.pointer || 'it'} ${problem.message}`);
  const { sub, iss, jti, exp, url, roots } = claims as JoinTokenClaims;
  try {
    const service = parseSpiffeId(sub);
    const trustDomain = parseTrustDomain(iss.replace(/^spiffe:\/\//, ''));
    if (service.trustDomain !== trustDomain)
      throw new TypeError('its service is of another trust domain than its issuer');
    if (exp * 1_000 <= now) {
      const details = { expired: timeOf(exp * 1_000), now: timeOf(now), service: service.service };
      throw fail('SIDECAR_TOKEN_EXPIRED', details);
    }
    const certificates = roots.map((root) => new X509Certificate(Buffer.from(root, 'base64')).raw);
    const bundle = { trustDomain, roots: certificates, sequence: 0n, refreshHint: 300 };
    return { text, id: jti, service, url, bundle };
  } catch (cause) {
    if ((cause as { code?: unknown }).code === 'SIDECAR_TOKEN_EXPIRED') throw cause;
    throw refuse(messageOf(cause), cause);
  }
}

/** Wall time as people read it. */
export function timeOf(ms: number): string {
  return new Date(ms).toISOString().replace('.000Z', 'Z');
}

function decodeJson(part: string): unknown {
  try {
    return JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
  } catch {
    return undefined;
  }
}

// What a SPIFFE ID is, and nothing else: text in, value out (SPIFFE-ID.md sections 2.1 to 2.4). IDs are compared byte for byte.
import { fail } from './errors.ts';

/** The longest ID accepted anywhere, in bytes (SPIFFE-ID section 2.3), and the longest trust domain. */
export const longestId = 2048;
const longestTrustDomain = 255;

/** The path prefix that belongs to the mesh's own parts. */
export const reservedPath = 'postern';

/** A valid SPIFFE ID with a path. Made only by `parseSpiffeId` and `spiffeIdOf`. */
export class SpiffeId {
  readonly uri: string;
  readonly trustDomain: string;
  /** The path without its leading slash: the service's name. */
  readonly service: string;

  private constructor(trustDomain: string, service: string) {
    this.uri = `spiffe://${trustDomain}/${service}`;
    this.trustDomain = trustDomain;
    this.service = service;
  }

  static parse(text: string): SpiffeId {
    const refuse = (reason: string): never => {
      throw fail('IDENTITY_ID_INVALID', { id: JSON.stringify(text.slice(0, 120)), reason });
    };
    if (text.length > longestId) refuse(`it is longer than ${longestId} bytes`);
    if (!text.startsWith('spiffe://')) refuse('the scheme is not spiffe://');
    const slash = text.indexOf('/', 9);
    const trustDomain = slash < 0 ? text.slice(9) : text.slice(9, slash);
    const inTrustDomain = trustDomainFault(trustDomain);
    if (inTrustDomain) refuse(inTrustDomain);
    if (slash < 0) refuse('it has no path');
    const inPath = pathFault(text.slice(slash + 1));
    if (inPath) refuse(inPath);
    return new SpiffeId(trustDomain, text.slice(slash + 1));
  }

  /** True for the mesh's own parts (`/postern/...`), which no token may name. */
  get isReserved(): boolean {
    return this.service === reservedPath || this.service.startsWith(`${reservedPath}/`);
  }

  toString(): string {
    return this.uri;
  }

  toJSON(): string {
    return this.uri;
  }
}

/** Parses a workload's SPIFFE ID; throws `IDENTITY_ID_INVALID` with the rule that it breaks. */
export function parseSpiffeId(text: string): SpiffeId {
  return SpiffeId.parse(text);
}

/** The ID of a service name in a trust domain; throws like `parseSpiffeId`. */
export function spiffeIdOf(name: { readonly trustDomain: string; readonly service: string }): SpiffeId {
  return SpiffeId.parse(`spiffe://${name.trustDomain}/${name.service}`);
}

/** Throws `IDENTITY_ID_INVALID` unless the text is a trust domain name. */
export function parseTrustDomain(text: string): string {
  const reason = trustDomainFault(text);
  if (reason) throw fail('IDENTITY_ID_INVALID', { id: JSON.stringify(text.slice(0, 120)), reason });
  return text;
}

/** Section 2.1: not empty, at most 255 bytes, a-z 0-9 dot dash underscore (so no port, userinfo, upper case or percent-encoding). */
function trustDomainFault(name: string): string | undefined {
  if (name === '') return 'the trust domain is empty';
  if (name.length > longestTrustDomain) return `the trust domain is longer than ${longestTrustDomain} bytes`;
  const wrong = /[^a-z0-9._-]/.exec(name);
  return wrong ? `the trust domain has ${JSON.stringify(wrong[0])}` : undefined;
}

/** Section 2.2: non-empty segments of a-z A-Z 0-9 dot dash underscore, none of them dot or dot-dot, no slash at the end. */
function pathFault(path: string): string | undefined {
  if (path === '') return 'the path is empty';
  const wrong = /[^a-zA-Z0-9._/-]/.exec(path);
  if (wrong) return `the path has ${JSON.stringify(wrong[0])}`;
  for (const segment of path.split('/')) {
    if (segment === '') return 'a path segment is empty';
    if (segment === '.' || segment === '..') return `the path has a ${segment} segment`;
  }
  return undefined;
}

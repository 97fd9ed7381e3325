// Is a certificate that the control plane issued the one that was asked for? Checked before anything is stored or used:
// the right name, the key made here, a chain to a root that is trusted already, and a validity that holds now.
import { X509Certificate } from 'node:crypto';
import { messageOf } from '#base/error';
import { parseBundle, readIdentity, type SpiffeId, type TrustBundle } from '#spiffe';
import type { SvidReply } from '#wire';
import { type Holding, isCurrent, type KeyPair } from './disk.ts';
import { fail } from './errors.ts';
import { timeOf } from './token.ts';

/** The reply as something to hold; throws SIDECAR_SVID_REFUSED or SIDECAR_CLOCK_WRONG. */
export function acceptIssued(o: {
  readonly reply: SvidReply;
  readonly key: KeyPair;
  readonly expect: SpiffeId;
  /** What is trusted before this reply. */
  readonly bundle: TrustBundle;
  readonly url: string;
  readonly now: number;
}): Holding {
  const { reply, key, expect, now } = o;
  try {
    const chain = reply.chain.map((der) => Buffer.from(der, 'base64'));
    const identity = readIdentity({ key: key.privateKey, chain });
    if (identity.id.uri !== expect.uri) throw new TypeError(`it is of ${identity.id.uri}, not ${expect.uri}`);
    assertChain(chain, o.bundle);
    const bundle = parseBundle(expect.trustDomain, reply.bundle);
    if (bundle.roots.length === 0) throw new TypeError('its trust bundle is empty');
    if (!isCurrent(identity, now)) {
      const [notBefore, notAfter] = [timeOf(identity.notBefore), timeOf(identity.notAfter)];
      throw fail('SIDECAR_CLOCK_WRONG', { id: expect.uri, notBefore, notAfter, now: timeOf(now) });
    }
    return { identity, bundle, bundleText: reply.bundle, instance: reply.instance, url: o.url };
  } catch (cause) {
    if ((cause as { code?: unknown }).code === 'SIDECAR_CLOCK_WRONG') throw cause;
    throw fail('SIDECAR_SVID_REFUSED', { reason: messageOf(cause) }, { cause });
  }
}

/** True when the chain (leaf first) leads to one of the bundle's roots. */
export function chainsTo(chain: readonly Uint8Array[], bundle: TrustBundle): boolean {
  const certificates = chain.map((der) => new X509Certificate(der));
  const linked = certificates.every((certificate, index) => {
    const issuer = certificates[index + 1];
    return issuer === undefined || isIssuedBy(certificate, issuer);
  });
  const last = certificates.at(-1)!;
  return linked && bundle.roots.some((root) => isIssuedBy(last, new X509Certificate(root)));
}

function assertChain(chain: readonly Uint8Array[], bundle: TrustBundle): void {
  if (!chainsTo(chain, bundle)) throw new TypeError('it does not chain to a trusted root');
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

// Is a certificate that the control plane issued the one that was asked for? Checked before anything is stored or used:
// the right name, the key made here, a chain to a root that is trusted already, and a validity that holds now.
import { messageOf } from '#base/error';
import { parseBundle, readIdentity, type SpiffeId, type TrustBundle, verifyChain } from '#spiffe';
import type { SvidReply } from '#wire';
import { type Holding, isCurrent, type KeyPair } from './disk.ts';
import { fail } from './errors.ts';
import { timeOf } from './token.ts';

/** The reply as something to hold; throws SIDECAR_SVID_REFUSED or SIDECAR_CLOCK_WRONG. */
export function acceptIssued(o: {
  readonly reply: SvidReply;
  readonly key: KeyPair;
  /** The only name that is acceptable. */
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
    const bundle = parseBundle(expect.trustDomain, reply.bundle);
    if (bundle.roots.length === 0) throw new TypeError('its trust bundle is empty');
    if (!isCurrent(identity, now)) {
      const [notBefore, notAfter] = [timeOf(identity.notBefore), timeOf(identity.notAfter)];
      throw fail('SIDECAR_CLOCK_WRONG', { id: expect.uri, notBefore, notAfter, now: timeOf(now) });
    }
    verifyChain({ chain, bundle: o.bundle, now });
    return { identity, bundle, bundleText: reply.bundle, instance: reply.instance, url: o.url, receivedAt: now };
  } catch (cause) {
    if ((cause as { code?: unknown }).code === 'SIDECAR_CLOCK_WRONG') throw cause;
    throw fail('SIDECAR_SVID_REFUSED', { reason: messageOf(cause) }, { cause });
  }
}

/** True when the chain (leaf first) leads to one of the bundle's roots and holds at `now`. */
export function chainsTo(o: {
  readonly chain: readonly Uint8Array[];
  readonly bundle: TrustBundle;
  readonly now: number;
}): boolean {
  try {
    verifyChain(o);
    return true;
  } catch {
    return false;
  }
}

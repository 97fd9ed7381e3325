// Who is at the other end of a connection. A `Peer` exists only after every rule of the SPIFFE checklist held and no ban names it.
import type { TLSSocket } from 'node:tls';
import { type SpiffeId, type TrustBundle, verifyPeer } from '#spiffe';
import { fail } from './errors.ts';

/** The banned ones, by SPIFFE ID and by certificate serial (lower-case hex). */
export interface Bans {
  readonly ids: ReadonlySet<string>;
  readonly serials: ReadonlySet<string>;
}

export interface PeerOptions {
  readonly bundle: TrustBundle;
  readonly bans: Bans;
  /** Epoch milliseconds. */
  readonly now: number;
}

/** A verified identity. Made only by `Peer.read` and `Peer.local`. */
export class Peer {
  readonly id: SpiffeId;
  readonly uri: string;
  readonly serial: string;
  /** Epoch milliseconds. */
  readonly notAfter: number;

  private constructor(svid: { id: SpiffeId; serial: string; notAfter: number }) {
    this.id = svid.id;
    this.uri = svid.id.uri;
    this.serial = svid.serial;
    this.notAfter = svid.notAfter;
  }

  /** Throws `TLS_*`, `IDENTITY_*` or `PEER_BANNED`. Reads the certificate, so call it once per connection. */
  static read(socket: TLSSocket, { bundle, bans, now }: PeerOptions): Peer {
    const svid = verifyPeer(socket, { bundle, now });
    if (isBanned(bans, { id: svid.id.uri, serial: svid.serial })) throw fail('PEER_BANNED', { id: svid.id.uri });
    return new Peer(svid);
  }

  /** The application beside this proxy speaks with the proxy's own identity: loopback is its only proof. */
  static local(identity: { id: SpiffeId; serial: string; notAfter: number }): Peer {
    return new Peer(identity);
  }
}

export function isBanned(bans: Bans, peer: { readonly id: string; readonly serial: string }): boolean {
  return bans.ids.has(peer.id) || bans.serials.has(peer.serial);
}

/** When a connection made with both identities stops taking requests, and when it is cut: epoch milliseconds. */
export function lifeOf(
  now: number,
  one: { notAfter: number },
  other: { notAfter: number },
): { retireAt: number; cutAt: number } {
  const cutAt = Math.min(one.notAfter, other.notAfter);
  return { cutAt, retireAt: cutAt - Math.min(30_000, Math.max(0, cutAt - now) / 5) };
}

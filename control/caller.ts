// Who is asking, and whether this route is theirs. Every route says which caller it needs; one that says nothing is refused to everybody.
import type { Authority } from '#ca';
import { reservedPath, type Svid } from '#spiffe';
import { fail } from './errors.ts';
import type { Peer } from './listener.ts';

/** public: anybody. any: any admin or proxy. */
export type Needs = 'public' | 'proxy' | 'admin' | 'any';

export type Caller =
  | { readonly kind: 'public'; readonly remote: string }
  | { readonly kind: 'proxy'; readonly svid: Svid; readonly instance: string; readonly remote: string }
  | { readonly kind: 'admin'; readonly svid: Svid; readonly name: string; readonly remote: string };

const adminPath = `${reservedPath}/admin/`;

/** What the caller of a connection is now; throws CALLER_EXPIRED, CALLER_BANNED or CALLER_UNKNOWN. Checked again for each request. */
export function callerOf(peer: Peer, { authority, now }: { authority: Authority; now: number }): Caller {
  const { svid, remote } = peer;
  if (!svid) return { kind: 'public', remote };
  const { id, serial } = svid;
  if (now >= svid.notAfter) throw fail('CALLER_EXPIRED', { id: id.uri, serial });
  if (authority.isBanned({ id, serial })) throw fail('CALLER_BANNED', { id: id.uri, serial });
  if (id.service.startsWith(adminPath)) {
    return { kind: 'admin', svid, name: id.service.slice(adminPath.length), remote };
  }
  const instance = id.isReserved ? undefined : authority.instanceOf(serial);
  if (instance === undefined) throw fail('CALLER_UNKNOWN', { id: id.uri, serial });
  return { kind: 'proxy', svid, instance, remote };
}

/** Throws unless the caller is one that the route is for. */
export function assertAllowed(caller: Caller, needs: Needs | undefined): void {
  if (needs === 'public') return;
  if (caller.kind === 'public') throw fail('CALLER_ANONYMOUS');
  if (needs === 'any' || needs === caller.kind) return;
  const whom = { proxy: 'proxies', admin: 'admins' };
  throw fail('CALLER_REFUSED', { id: caller.svid.id.uri, needs: needs ? whom[needs] : 'nobody' });
}

/** The caller as the actor of an event. */
export function actorOf(caller: Caller | undefined): string {
  return !caller || caller.kind === 'public' ? 'unauthenticated' : caller.svid.id.uri;
}

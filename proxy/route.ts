// Where a permitted request goes: the first route of its virtual host that matches. Only with a permit for the very service that a call to this host is a call to.
import type { HttpAction, TunnelAction, VirtualHost } from '#routing';
import type { Permit } from './authorize.ts';
import type { RequestHead } from './request-head.ts';

/** Made only by `routeTo`. */
export interface Route {
  readonly permit: Permit;
  readonly host: VirtualHost;
  readonly action: HttpAction | TunnelAction;
}

/** `undefined`: no route matches. Throws `TypeError` when the permit is for another service. */
export function routeTo(permit: Permit, host: VirtualHost, { head, from, sni, isTls }: Asking): Route | undefined {
  if (permit.to !== host.id) throw new TypeError('the permit is for another service');
  const port = portOf(head, isTls ? 443 : 80);
  const { method, path, query, fields } = head;
  const action =
    sni !== undefined
      ? host.tls({ from, port, sni })
      : head.tunnel === 'connect'
        ? host.tcp({ from, port })
        : host.http({ method, port, path, query, fields, from });
  return action && { permit, host, action };
}

interface Asking {
  readonly head: RequestHead;
  /** SPIFFE ID of the caller. */
  readonly from: string;
  /** Of TLS that does not end here. */
  readonly sni?: string | undefined;
  /** Whether the caller has come by TLS, of which the port is another when it names none. */
  readonly isTls?: boolean | undefined;
}

/** That of the Host header, or the usual one when it names none. */
export function portOf({ authority, host }: Pick<RequestHead, 'authority' | 'host'>, usual = 80): number {
  if (authority.length === host.length) return usual;
  return Number(/:([0-9]+)$/.exec(authority.slice(host.length))?.[1] ?? usual);
}

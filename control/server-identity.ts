// The server's own certificate: spiffe://TRUST-DOMAIN/postern/server, made by the authority beside it, renewed at half of its life and
// whenever the issuing CA changes. The key never touches the disk.

import type { Clock } from '#base/clock';
import { messageOf } from '#base/error';
import type { Log } from '#base/log';
import type { Authority } from '#ca';
import { type Identity, reservedPath, spiffeIdOf } from '#spiffe';

export interface ServerIdentity {
  readonly current: Identity;
  /** Makes a new one now. */
  renew(): void;
  close(): void;
}

export interface ServerIdentityOptions {
  readonly authority: Authority;
  readonly clock: Clock;
  readonly log: Log;
  readonly names: { readonly dns: readonly string[]; readonly ip: readonly string[] };
  readonly onRenewed: () => void;
}

const retryMs = 5_000;

export function createServerIdentity({
  authority,
  clock,
  log,
  names,
  onRenewed,
}: ServerIdentityOptions): ServerIdentity {
  const id = spiffeIdOf({ trustDomain: authority.trustDomain, service: `${reservedPath}/server` });
  const issue = (): Identity =>
    authority.issueLocal({ id, ttlMs: authority.settings.svidTtlMs, instance: 'server', ...names });
  let current = issue();
  let disarm = (): void => undefined;
  const renew = (): void => {
    disarm();
    try {
      current = issue();
      onRenewed();
      arm(halfLife());
    } catch (thrown) {
      log.error('the certificate of the server could not be renewed', { reason: messageOf(thrown) });
      arm(retryMs);
    }
  };
  const halfLife = (): number => (current.notAfter - clock.now()) / 2;
  const arm = (ms: number): void => {
    disarm = clock.after(ms, renew);
  };
  arm(halfLife());
  return {
    get current() {
      return current;
    },
    renew,
    close: () => disarm(),
  };
}

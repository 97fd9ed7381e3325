// Which endpoint gets a request: the less busy of two drawn at random, leaving out those that have just failed to connect. When all have
// failed, all are tried again: a wrong suspicion must not be an outage.
import type { Endpoint } from './route.ts';

export interface Balancer {
  /** `undefined` when every endpoint is in `tried`. */
  pick(endpoints: readonly Endpoint[], tried: ReadonlySet<string>): Endpoint | undefined;
  /** A request begins at the endpoint; the result ends it. */
  begin(endpoint: Endpoint): () => void;
  connected(endpoint: Endpoint): void;
  failed(endpoint: Endpoint): void;
  /** Forgets the endpoints that no longer exist. */
  keep(addresses: ReadonlySet<string>): void;
  /** Addresses left out at the moment. */
  ejected(): readonly string[];
}

interface Standing {
  active: number;
  failures: number;
  /** Monotonic milliseconds. */
  ejectedUntil: number;
}

const firstEjectionMs = 250;
const longestEjectionMs = 15_000;

export function createBalancer(o: { readonly monotonic: () => number; readonly random: () => number }): Balancer {
  const standings = new Map<string, Standing>();
  const standingOf = ({ address }: Endpoint): Standing => {
    let standing = standings.get(address);
    if (!standing) {
      standing = { active: 0, failures: 0, ejectedUntil: 0 };
      standings.set(address, standing);
    }
    return standing;
  };
  const draw = (among: readonly Endpoint[]): Endpoint | undefined => {
    if (among.length < 2) return among[0];
    const first = Math.floor(o.random() * among.length);
    const second = (first + 1 + Math.floor(o.random() * (among.length - 1))) % among.length;
    const [one, other] = [among[first]!, among[second]!];
    return standingOf(other).active < standingOf(one).active ? other : one;
  };
  return {
    pick(endpoints, tried) {
      if (endpoints.length === 1) return tried.has(endpoints[0]!.address) ? undefined : endpoints[0];
      const now = o.monotonic();
      const left = tried.size === 0 ? endpoints : endpoints.filter(({ address }) => !tried.has(address));
      return draw(left.filter((endpoint) => standingOf(endpoint).ejectedUntil <= now)) ?? draw(left);
    },
    begin(endpoint) {
      const standing = standingOf(endpoint);
      standing.active++;
      return () => {
        standing.active--;
      };
    },
    connected(endpoint) {
      const standing = standingOf(endpoint);
      standing.failures = 0;
      standing.ejectedUntil = 0;
    },
    failed(endpoint) {
      const standing = standingOf(endpoint);
      standing.ejectedUntil =
        o.monotonic() + Math.min(longestEjectionMs, firstEjectionMs * 2 ** Math.min(standing.failures++, 16));
    },
    keep(addresses) {
      for (const address of standings.keys()) if (!addresses.has(address)) standings.delete(address);
    },
    ejected() {
      const now = o.monotonic();
      return [...standings].filter(([, { ejectedUntil }]) => ejectedUntil > now).map(([address]) => address);
    },
  };
}

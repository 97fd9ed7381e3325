// Addresses of endpoints that are known by name, for connections that are being made: what DNS says, kept for a while, and the last good answer
// for as long as there is no newer one.
import type { LookupFunction } from 'node:net';
import type { Clock } from '#base/clock';
import { mayBeAnswered } from './discovery/address-kinds.ts';
import { type Address, type Dns, NameFault } from './discovery/dns.ts';

export interface NamesOptions {
  readonly clock: Clock;
  readonly dns: Dns;
}

/** As `net.connect` takes it. */
export type Lookup = LookupFunction;

/** An answer is used for so long; after that the last good one stays in use while there is no newer. */
const freshMs = 15_000;
const retryMs = 1_000;
const mostNames = 1_024;

/** For `net.connect`: fails with ENOTFOUND for a name that has no address, EAI_AGAIN when nobody could say, EFORBIDDEN when none may be called. */
export function createLookup({ clock, dns }: NamesOptions): Lookup {
  const known = new Map<string, { readonly addresses: readonly Address[]; until: number }>();
  const asking = new Map<string, Promise<readonly Address[]>>();

  const ask = async (name: string): Promise<readonly Address[]> => {
    try {
      const { found, ttlMs = freshMs } = await dns.addresses(name);
      const addresses = found.filter(({ address }) => mayBeAnswered(address));
      if (addresses.length === 0) throw new NameFault(name, 'EFORBIDDEN');
      const usedMs = Math.min(freshMs, Math.max(retryMs, ttlMs));
      return keep(name, { addresses, until: clock.monotonic() + usedMs });
    } catch (thrown) {
      const last = known.get(name);
      if (last) return keep(name, { ...last, until: clock.monotonic() + retryMs });
      throw thrown instanceof NameFault ? thrown : new NameFault(name, 'EAI_AGAIN');
    }
  };
  const keep = (name: string, answer: { addresses: readonly Address[]; until: number }): readonly Address[] => {
    known.delete(name);
    known.set(name, answer);
    if (known.size > mostNames) known.delete(known.keys().next().value!);
    return answer.addresses;
  };
  const resolve = async (name: string): Promise<readonly Address[]> => {
    const before = known.get(name);
    if (before && before.until > clock.monotonic()) return before.addresses;
    let question = asking.get(name);
    if (!question) {
      question = ask(name).finally(() => asking.delete(name));
      asking.set(name, question);
    }
    return question;
  };

  return (name, { all }, callback) => {
    resolve(name.toLowerCase()).then(
      (found) => (all ? callback(null, [...found]) : callback(null, found[0]!.address, found[0]!.family)),
      (thrown: NodeJS.ErrnoException) => callback(thrown, []),
    );
  };
}

// Addresses of endpoints that are known by name. Asked of DNS in questions that end by themselves: getaddrinfo would hold one of this process's
// few threads for as long as a name server says nothing, and callers choose what to call. It reads no hosts file and no search list.
import type { Resolver } from 'node:dns/promises';
import type { LookupFunction } from 'node:net';
import type { Clock } from '#base/clock';

export interface NamesOptions {
  readonly clock: Clock;
  /** Name servers as ADDRESS:PORT; by default those of the system. */
  readonly servers?: readonly string[];
  /** How long one question may take, milliseconds. Each is asked twice. */
  readonly questionMs?: number;
}

interface Address {
  readonly address: string;
  readonly family: 4 | 6;
}

/** As `net.connect` takes it. */
export type Lookup = LookupFunction;

/** An answer is used for so long; after that the last good one stays in use while there is no newer. */
const freshMs = 15_000;
const retryMs = 1_000;
const mostNames = 1_024;

/** For `net.connect`: fails with ENOTFOUND for a name that has no address, with EAI_AGAIN when nobody could say. */
export function createLookup({ clock, servers, questionMs = 1_000 }: NamesOptions): Lookup {
  const known = new Map<string, { readonly addresses: readonly Address[]; until: number }>();
  const asking = new Map<string, Promise<readonly Address[]>>();
  let resolver: Promise<Resolver> | undefined;

  /** Loaded with the first name. */
  const open = async (): Promise<Resolver> => {
    const { Resolver } = await import('node:dns/promises');
    const opened = new Resolver({ timeout: questionMs, tries: 2 });
    if (servers) opened.setServers(servers);
    return opened;
  };
  const ask = async (name: string): Promise<readonly Address[]> => {
    resolver ??= open();
    const dns = await resolver;
    const [four, six] = await Promise.allSettled([dns.resolve4(name), dns.resolve6(name)]);
    const found: Address[] = [];
    if (four.status === 'fulfilled') for (const address of four.value) found.push({ address, family: 4 });
    if (six.status === 'fulfilled') for (const address of six.value) found.push({ address, family: 6 });
    if (found.length > 0) return keep(name, { addresses: found, until: clock.monotonic() + freshMs });
    const isUnknown = isNone(four) && isNone(six);
    // The system's name servers may have been replaced.
    if (!isUnknown) resolver = undefined;
    const last = known.get(name);
    if (last) return keep(name, { ...last, until: clock.monotonic() + retryMs });
    throw Object.assign(new Error(`no address of ${name}`), { code: isUnknown ? 'ENOTFOUND' : 'EAI_AGAIN' });
  };
  const keep = (name: string, answer: { addresses: readonly Address[]; until: number }): readonly Address[] => {
    known.delete(name);
    known.set(name, answer);
    if (known.size > mostNames) known.delete(known.keys().next().value!);
    return answer.addresses;
  };
  const resolve = async (name: string): Promise<readonly Address[]> => {
    if (name === 'localhost' || name.endsWith('.localhost')) return loopback;
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

// RFC 6761 section 6.3.
const loopback: readonly Address[] = [
  { address: '127.0.0.1', family: 4 },
  { address: '::1', family: 6 },
];

/** The name server has said that there is nothing. */
function isNone(outcome: PromiseSettledResult<unknown>): boolean {
  return outcome.status === 'rejected' && ['ENOTFOUND', 'ENODATA'].includes(outcome.reason.code);
}

// What DNS says of a name, and for how long. Asked in questions that end by themselves: getaddrinfo would hold one of this process's few threads for as
// long as a name server says nothing, and callers choose what to call. The hosts file counts first; there is no search list.
import type { Resolver } from 'node:dns/promises';
import { createHostsFile } from './hosts-file.ts';

export interface DnsOptions {
  /** Name servers as ADDRESS:PORT; by default those of the system. */
  readonly servers?: readonly string[] | undefined;
  /** How long one question may take, milliseconds. Each is asked twice. */
  readonly questionMs?: number;
  readonly hostsFile?: string;
}

export interface Address {
  readonly address: string;
  readonly family: 4 | 6;
}

/** RFC 2782. */
export interface ServiceRecord {
  readonly target: string;
  readonly port: number;
  readonly priority: number;
  readonly weight: number;
}

export interface Answer<T> {
  readonly found: readonly T[];
  /** Milliseconds that it may be used for; absent: it is not said. */
  readonly ttlMs: number | undefined;
}

/**
 * Of a question without an answer that is of use: `ENOTFOUND` when there is nothing of that name, `EAI_AGAIN` when nobody could say, `EFORBIDDEN` when no
 * address of it may be called.
 */
export class NameFault extends Error {
  readonly code: 'ENOTFOUND' | 'EAI_AGAIN' | 'EFORBIDDEN';

  constructor(name: string, code: NameFault['code']) {
    super(faults[code](name));
    this.code = code;
  }
}
const faults: Readonly<Record<NameFault['code'], (name: string) => string>> = {
  ENOTFOUND: (name) => `there is no such host name: ${name}`,
  EAI_AGAIN: (name) => `${name} cannot be resolved now`,
  EFORBIDDEN: (name) => `no address of ${name} may be called`,
};

export interface AddressAnswer extends Answer<Address> {
  /** Nobody could say whether there are IPv4 addresses too. */
  readonly isPartial: boolean;
}

export interface Dns {
  /** Both families, IPv4 first. Rejects with a `NameFault`; never gives an empty answer. */
  addresses(name: string): Promise<AddressAnswer>;
  /** Rejects with a `NameFault`; never gives an empty answer. */
  services(name: string): Promise<Answer<ServiceRecord>>;
}

export function createDns({ servers, questionMs = 1_000, hostsFile = '/etc/hosts' }: DnsOptions = {}): Dns {
  const hosts = createHostsFile(hostsFile);
  let resolver: Promise<Resolver> | undefined;

  /** Loaded with the first name. */
  const open = async (): Promise<Resolver> => {
    const { Resolver } = await import('node:dns/promises');
    const opened = new Resolver({ timeout: questionMs, tries: 2 });
    if (servers) opened.setServers(servers);
    return opened;
  };
  const use = (): Promise<Resolver> => {
    resolver ??= open();
    return resolver;
  };
  /** A question that the resolver itself has lost track of is given up too. */
  const inTime = <T>(dns: Resolver, question: Promise<T>): Promise<T> => {
    const late = setTimeout(() => dns.cancel(), questionMs * 8);
    late.unref();
    return question.finally(() => clearTimeout(late));
  };
  const faultOf = (name: string, ...refused: readonly unknown[]): NameFault => {
    if (refused.every(isNone)) return new NameFault(name, 'ENOTFOUND');
    // The system's name servers may have been replaced.
    resolver = undefined;
    return new NameFault(name, 'EAI_AGAIN');
  };

  return {
    async addresses(written) {
      const name = written.toLowerCase().replace(/\.$/, '');
      const local = name === 'localhost' || name.endsWith('.localhost') ? loopback : hosts.addressesOf(name);
      if (local) return { found: local, ttlMs: undefined, isPartial: false };
      const dns = await use();
      const options = { ttl: true } as const;
      const [four, six] = await Promise.allSettled([
        inTime(dns, dns.resolve4(name, options)),
        inTime(dns, dns.resolve6(name, options)),
      ]);
      const found: Address[] = [];
      let ttl = Number.POSITIVE_INFINITY;
      for (const [one, family] of [
        [four, 4],
        [six, 6],
      ] as const) {
        if (one.status === 'rejected') continue;
        for (const record of one.value) {
          found.push({ address: record.address, family });
          ttl = Math.min(ttl, record.ttl);
        }
      }
      if (found.length === 0)
        throw faultOf(name, ...[four, six].map((one) => (one.status === 'rejected' ? one.reason : undefined)));
      const isPartial = four.status === 'rejected' && !isNone(four.reason);
      return { found, ttlMs: isPartial ? 0 : ttl * 1_000, isPartial };
    },
    async services(name) {
      const dns = await use();
      try {
        const records = await inTime(dns, dns.resolveSrv(name));
        // A target of "." says that there is no such service there (RFC 2782).
        const found = records
          .filter(({ name: target }) => target !== '' && target !== '.')
          .map(({ name: target, port, priority, weight }) => ({ target, port, priority, weight }));
        if (found.length === 0) throw new NameFault(name, 'ENOTFOUND');
        return { found, ttlMs: undefined };
      } catch (thrown) {
        throw thrown instanceof NameFault ? thrown : faultOf(name, thrown);
      }
    },
  };
}

// RFC 6761 section 6.3.
const loopback: readonly Address[] = [
  { address: '127.0.0.1', family: 4 },
  { address: '::1', family: 6 },
];

/** The name server has said that there is nothing. */
function isNone(thrown: unknown): boolean {
  return thrown === undefined || ['ENOTFOUND', 'ENODATA'].includes((thrown as NodeJS.ErrnoException).code ?? '');
}

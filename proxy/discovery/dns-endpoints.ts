// The endpoints of a cluster that DNS names, asked for again when an answer has had its time. What is good stays in use for as long as there is no newer
// good answer: a name server that is away, or says that there is nothing, is no reason to stop calling.
import type { Clock } from '#base/clock';
import { messageOf } from '#base/error';
import { formatHostPort } from '#base/host-port';
import type { Endpoint } from '#routing';
import { mayBeAnswered } from './address-kinds.ts';
import type { AddressAnswer, Dns, ServiceRecord } from './dns.ts';

export interface DnsQuestion {
  readonly name: string;
  /** Of address records; service records have their own. */
  readonly port: number;
  readonly type: 'address' | 'srv';
  readonly refreshMs: number;
}

/** The endpoints to use first, those to use when none of them is good, and so on: the priorities of SRV records. */
export type Levels = readonly (readonly Endpoint[])[];

export interface DnsEndpointsOptions extends DnsQuestion {
  readonly dns: Dns;
  readonly clock: Clock;
  readonly random: () => number;
  /** They have changed. */
  readonly onLevels: (levels: Levels) => void;
  /** How a question ended; `reason` when there is no good answer. */
  readonly onAnswer: (reason: string | undefined) => void;
}

export interface DnsEndpoints {
  /** Fulfilled with the first answer, whichever; never rejected. */
  readonly asked: Promise<void>;
  close(): void;
}

/** However short the time to live. */
export const leastRefreshMs = 1_000;
/** More than any one answer should hold; what is above is left out, in a stable order. */
export const mostEndpoints = 256;

export function watchDns(o: DnsEndpointsOptions): DnsEndpoints {
  const targets: Targets = new Map();
  let told = '';
  let failures = 0;
  let isClosed = false;
  let cancel: (() => void) | undefined;

  const ask = async (): Promise<void> => {
    let waitMs: number;
    try {
      const { levels, ttlMs } = o.type === 'srv' ? await askServices(o, targets) : await askAddresses(o);
      if (isClosed) return;
      failures = 0;
      o.onAnswer(undefined);
      waitMs = Math.max(leastRefreshMs, Math.min(o.refreshMs, ttlMs));
      const text = JSON.stringify(levels);
      if (text !== told) {
        told = text;
        o.onLevels(levels);
      }
    } catch (thrown) {
      if (isClosed) return;
      o.onAnswer(messageOf(thrown));
      waitMs = Math.max(leastRefreshMs, Math.min(o.refreshMs, leastRefreshMs * 2 ** Math.min(failures++, 10)));
    }
    // A tenth early or late, so that proxies do not ask all at once.
    cancel = o.clock.after(waitMs * (0.9 + 0.2 * o.random()), () => void ask());
  };
  return {
    asked: ask(),
    close() {
      isClosed = true;
      cancel?.();
    },
  };
}

interface Found {
  readonly levels: Levels;
  readonly ttlMs: number;
}

async function askAddresses({ dns, name, port, refreshMs }: DnsEndpointsOptions): Promise<Found> {
  const answer = await dns.addresses(name);
  if (answer.isPartial) throw new TypeError(`nobody could say whether ${name} has IPv4 addresses`);
  const endpoints = usable(name, answer).map((address) => endpointAt({ address, port, weight: 1 }));
  return { levels: [endpoints.slice(0, mostEndpoints)], ttlMs: answer.ttlMs ?? refreshMs };
}

/** The last good answer for each target of service records. */
type Targets = Map<string, AddressAnswer>;

async function askServices({ dns, name, refreshMs }: DnsEndpointsOptions, answers: Targets): Promise<Found> {
  const { found } = await dns.services(name);
  const records = [...found].sort(bySpelling).slice(0, mostEndpoints);
  const targets = new Set(records.map(({ target }) => target));
  for (const target of answers.keys()) if (!targets.has(target)) answers.delete(target);
  await Promise.all(
    [...targets].map(async (target) => {
      const answer = await dns.addresses(target).catch(() => undefined);
      if (answer && !answer.isPartial) answers.set(target, answer);
    }),
  );
  let ttlMs = refreshMs;
  const levels: Endpoint[][] = [];
  let count = 0;
  for (const priority of [...new Set(records.map((record) => record.priority))].sort((a, b) => a - b)) {
    const level: Endpoint[] = [];
    const group = records.filter((record) => record.priority === priority);
    const weights = weightsOf(group);
    for (const [index, { target, port }] of group.entries()) {
      const answer = answers.get(target);
      if (!answer) continue;
      ttlMs = Math.min(ttlMs, answer.ttlMs ?? refreshMs);
      for (const address of allowed(answer)) {
        if (count++ >= mostEndpoints || level.some((one) => one.host === address && one.port === port)) continue;
        level.push(endpointAt({ address, port, weight: weights[index]! }));
      }
    }
    if (level.length > 0) levels.push(level);
  }
  if (levels.length === 0) throw new TypeError(`none of the targets of ${name} has an address`);
  return { levels, ttlMs };
}

function usable(name: string, answer: AddressAnswer): readonly string[] {
  const found = allowed(answer);
  if (found.length === 0) throw new TypeError(`no address of ${name} may be called`);
  return found;
}

/** IPv4 where there is any, so that a host with both is one endpoint; sorted, since servers turn the order with every answer. */
function allowed({ found }: AddressAnswer): readonly string[] {
  const good = found.filter(({ address }) => mayBeAnswered(address));
  const four = good.filter(({ family }) => family === 4);
  return [...new Set((four.length > 0 ? four : good).map(({ address }) => address))].sort();
}

const mostWeight = 100;

/** Shares among records of one priority. Weight 0 means next to nothing beside others (RFC 2782), and the same for all when all have it. */
function weightsOf(records: readonly ServiceRecord[]): readonly number[] {
  const most = Math.max(...records.map(({ weight }) => weight));
  if (records.every(({ weight }) => weight === most)) return records.map(() => 1);
  return records.map(({ weight }) => Math.max(1, Math.round((weight / most) * mostWeight)));
}

function bySpelling(one: ServiceRecord, other: ServiceRecord): number {
  return one.priority - other.priority || (one.target < other.target ? -1 : 1) || one.port - other.port;
}

function endpointAt({ address, port, weight }: { address: string; port: number; weight: number }): Endpoint {
  const text = formatHostPort({ host: address, port });
  return {
    host: address,
    port,
    address: text,
    instance: text,
    labels: {},
    weight,
    zone: undefined,
    isUnhealthy: false,
  };
}

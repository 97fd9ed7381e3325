// A cluster at work: which endpoint gets a request, how many there may be, which endpoints are left out and for how long. State of one process and thread;
// it opens nothing and waits for nothing.
import type { HashOn } from '#wire';
import type { Outcome } from './action.ts';
import { Breaker } from './balance/breaker.ts';
import { Group } from './balance/group.ts';
import { Member } from './balance/member.ts';
import { Outliers, statusOf } from './balance/outliers.ts';
import {
  type BalanceSettings,
  type BreakerBounds,
  balanceSettings,
  breakerBounds,
  type ClusterSettings,
  outlierBounds,
  type Part,
} from './balance/settings.ts';
import type { Endpoint } from './endpoint.ts';

export interface LiveCluster {
  readonly name: string;
  /** Takes over new settings and endpoints; what is known of endpoints that stay is kept. */
  update(o: { readonly settings: ClusterSettings; readonly endpoints: readonly Endpoint[] }): void;
  /** `undefined`: none that may be tried. `hash` as `hashOf` gives it; `tried` holds addresses. */
  pick(o: {
    readonly subset: string | undefined;
    readonly hash: number | undefined;
    readonly tried: ReadonlySet<string>;
  }): Endpoint | undefined;
  /** A place for a request in progress (`maxRequests`); call the result once when it has ended. `undefined`: the breaker is open. */
  admit(): (() => void) | undefined;
  /** A place for one retry (`maxRetries`, `retryBudget`, `minRetries`); call the result once when it has ended. */
  admitRetry(): (() => void) | undefined;
  /** A try begins at the endpoint; call the result once with what it came to (`undefined`: the caller went away). */
  begin(endpoint: Endpoint): (outcome: Outcome | undefined) => void;
  /** What an active health check found. */
  checked(address: string, isHealthy: boolean): void;
  /** On what requests are hashed, when the policy does that. */
  readonly hashOn: HashOn | undefined;
  /** Of these, `maxConnections` and `maxPending` are for the pools of each endpoint to keep. */
  readonly bounds: BreakerBounds;
  readonly endpoints: readonly Endpoint[];
  /** For people: `postern describe`, the admin page, metrics. */
  describe(): ClusterState;
}

export interface ClusterState {
  readonly requests: number;
  readonly retries: number;
  /** Times that a bound of the breaker has bitten, by its name. */
  readonly refused: Readonly<Record<string, number>>;
  /** Too few endpoints are healthy, so that others are used too. */
  readonly panic: boolean;
  /** Times that an endpoint was picked in a panic. */
  readonly panicPicks: number;
  readonly endpoints: readonly {
    readonly address: string;
    readonly instance: string;
    readonly zone: string | undefined;
    readonly weight: number;
    readonly active: number;
    /** By health checks. */
    readonly health: 'healthy' | 'unhealthy';
    /** Milliseconds that it is still left out, and why. */
    readonly ejectedForMs: number | undefined;
    readonly ejectedWhy: string | undefined;
  }[];
}

export interface LiveClusterOptions {
  readonly name: string;
  readonly monotonic: () => number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** The zone of this proxy. */
  readonly zone: string | undefined;
  /** Of a proxy with several threads; the bounds of the breaker are divided among them. */
  readonly part?: Part | undefined;
  /** An endpoint is left out, or back. */
  readonly onEjection?: (o: {
    readonly address: string;
    readonly why: string | undefined;
    /** What was said of it last. */
    readonly before: string | undefined;
  }) => void;
}

/** While many endpoints fail one after the other, all of them are looked at once in a while and not each time. */
const manyMembers = 512;
const manyMembersRestMs = 10;

/** Knows no endpoint before its first `update`. */
export function createLiveCluster(o: LiveClusterOptions): LiveCluster {
  const { monotonic, random } = o;
  let members = new Map<string, Member>();
  let given: Given | undefined;
  let balance: BalanceSettings = balanceSettings({});
  const part = o.part ?? { index: 0, of: 1 };
  const breaker = new Breaker(breakerBounds({}, part));
  /** By subset; made when one is asked for. */
  const groups = new Map<string | undefined, Group>();
  /** Rises with every change of a standing: groups prepare themselves when they have not seen it. */
  let version = 0;
  /** When standings have to be looked at again; 0: now. */
  let changesAt = Number.POSITIVE_INFINITY;
  let panicPicks = 0;

  const announce = (member: Member, now: number): void => {
    const why = member.leftOutWhy(now);
    if (why === member.announced) return;
    const before = member.announced;
    member.announced = why;
    o.onEjection?.({ address: member.address, why, before });
  };
  /** A member that changed is looked at by itself; lists are made again for the next request, of many members only after a while. */
  const changed = (member: Member, now: number): void => {
    member.refresh(now);
    announce(member, now);
    changesAt = Math.min(changesAt, members.size > manyMembers ? now + manyMembersRestMs : now);
  };
  const outliers = new Outliers({
    monotonic,
    members: () => members,
    onChange: changed,
  });
  const refresh = (now: number): void => {
    version++;
    changesAt = Number.POSITIVE_INFINITY;
    for (const member of members.values()) {
      member.refresh(now);
      announce(member, now);
      changesAt = Math.min(changesAt, member.changesAfter(now, balance.slowStartMs));
    }
  };
  const groupOf = (subset: string | undefined): Group | undefined => {
    let group = groups.get(subset);
    if (group) return group;
    const labels = subset === undefined ? {} : balance.subsets[subset]?.labels;
    if (!labels) return undefined;
    const wanted = Object.entries(labels);
    const chosen = [...members.values()].filter(({ endpoint }) =>
      wanted.every(([name, value]) => endpoint.labels[name] === value),
    );
    group = new Group({ settings: balance, zone: o.zone, random, members: chosen });
    groups.set(subset, group);
    return group;
  };
  const preparedGroup = (subset: string | undefined, now: number): Group | undefined => {
    if (now >= changesAt) refresh(now);
    const group = groupOf(subset);
    if (group && group.version !== version) {
      group.prepare(now);
      group.version = version;
    }
    return group;
  };

  return {
    name: o.name,
    get hashOn() {
      return given?.settings.loadBalancing?.hashOn;
    },
    get bounds() {
      return breaker.bounds;
    },
    get endpoints() {
      return given?.endpoints ?? [];
    },
    update(next) {
      const now = monotonic();
      const known = members;
      members = new Map();
      for (const endpoint of next.endpoints) {
        if (members.has(endpoint.address)) continue;
        const member = known.get(endpoint.address) ?? new Member(endpoint, now);
        member.endpoint = endpoint;
        // What is there from the beginning may have been there for long.
        if (given && !known.has(endpoint.address)) member.warmingSince = now;
        members.set(endpoint.address, member);
      }
      const endpoints =
        next.endpoints.length === members.size ? next.endpoints : [...members.values()].map(({ endpoint }) => endpoint);
      const previous = given;
      given = { settings: next.settings, endpoints };
      balance = balanceSettings(next.settings);
      breaker.bounds = breakerBounds(next.settings, part);
      outliers.update(outlierBounds(next.settings));
      if (!previous || !isMadeAlike(previous, given)) groups.clear();
      changesAt = 0;
    },
    pick({ subset, hash, tried }) {
      const now = monotonic();
      const group = preparedGroup(subset, now);
      if (!group) return undefined;
      if (group.isPanic) panicPicks++;
      return group.pick({ hash, tried, now })?.endpoint;
    },
    admit: () => breaker.admit(),
    admitRetry: () => breaker.admitRetry(),
    begin(endpoint) {
      const began = monotonic();
      const member = members.get(endpoint.address);
      // Gone since it was picked: nothing is to be learnt.
      if (!member) return () => undefined;
      member.active++;
      let isOver = false;
      return (outcome) => {
        if (isOver) return;
        isOver = true;
        member.active--;
        if (!outcome || outcome.kind === 'refused') return;
        const now = monotonic();
        member.observe(now, now - began, statusOf(outcome) >= 500);
        if (members.get(member.address) === member) outliers.heard(member, outcome, now);
      };
    },
    checked(address, isHealthy) {
      const member = members.get(address);
      if (!member || member.isFailingChecks === !isHealthy) return;
      member.isFailingChecks = !isHealthy;
      changed(member, monotonic());
    },
    describe() {
      const now = monotonic();
      const panic = preparedGroup(undefined, now)?.isPanic ?? false;
      return {
        requests: breaker.requests,
        retries: breaker.retries,
        refused: { ...breaker.refused },
        panic,
        panicPicks,
        endpoints: Array.from(members.values(), (member) => {
          const why = member.leftOutWhy(now);
          return {
            address: member.address,
            instance: member.endpoint.instance,
            zone: member.endpoint.zone,
            weight: member.weight,
            active: member.active,
            health: member.isUnhealthy ? ('unhealthy' as const) : ('healthy' as const),
            ejectedForMs: why === undefined ? undefined : Math.max(member.ejectedUntil, member.asideUntil) - now,
            ejectedWhy: why,
          };
        }),
      };
    },
  };
}

type Given = Parameters<LiveCluster['update']>[0];

/** Whether groups made for one may be kept for the other, whatever the health of endpoints. */
function isMadeAlike(one: Given, other: Given): boolean {
  if (one.endpoints.length !== other.endpoints.length) return false;
  const balanceOf = ({ settings }: Given): string => JSON.stringify([settings.loadBalancing, settings.subsets]);
  return (
    balanceOf(one) === balanceOf(other) && one.endpoints.every((each, at) => isPlacedAlike(each, other.endpoints[at]!))
  );
}

function isPlacedAlike(one: Endpoint, other: Endpoint): boolean {
  if (one.address !== other.address || one.weight !== other.weight || one.zone !== other.zone) return false;
  const names = Object.keys(one.labels);
  return (
    names.length === Object.keys(other.labels).length && names.every((name) => one.labels[name] === other.labels[name])
  );
}

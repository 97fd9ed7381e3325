// What the proxies of a service must hold now: rules scoped to it, the services, clusters and virtual services that its calls can lead to, bans, bundle.
// One content for each service, made of shared parts; a new revision only when it differs, so that nobody is woken by what does not concern them.
import { createHash } from 'node:crypto';
import { createScope, type Scope } from '#policy';
import type { Traffic } from '#routing';
import { parseSpiffeId } from '#spiffe';
import type { PolicyRule, PolicySet, Snapshot } from '#wire';
import { wireVersion } from '#wire';
import { changeText } from './change.ts';
import { createEntries, type Entry } from './entries.ts';
import { hostOf } from './hosts.ts';
import { expandReach, type Reach, reachOf } from './reach.ts';
import type { Registry } from './registry.ts';
import { createTrafficParts, type Piece, type TrafficParts } from './traffic.ts';

/** The newest snapshot of one service. */
export interface Content {
  readonly revision: number;
  /** The whole watch event, one line with its end. */
  whole(): Buffer;
  /** The watch event for who was sent the revision `from` before, when that is enough. */
  readonly change: { readonly from: number; line(): Buffer } | undefined;
}

export interface Snapshots {
  /** Brings one service up to date. `above` is a revision that the new one must exceed, for a proxy that is ahead. */
  refresh(service: string, above?: number): Content;
  current(service: string): Content | undefined;
  /** Whether a proxy of this service that acknowledged `revision` holds the bundle of `sequence` or a later one. */
  holdsBundle(o: { readonly service: string; readonly revision: number; readonly sequence: bigint }): boolean;
  /** Drops what was derived from the old one. */
  changed(what: 'resources' | 'bundle' | 'bans' | { readonly endpointsOf: string }): void;
}

export interface SnapshotsOptions {
  readonly policy: () => PolicySet;
  readonly traffic: () => Traffic;
  readonly registry: Pick<Registry, 'endpoints' | 'services'>;
  readonly bundle: () => { readonly text: string; readonly sequence: bigint };
  readonly bans: () => Snapshot['bans'];
  readonly trustDomain: string;
  readonly nextRevision: () => number;
}

interface Parts {
  readonly urgent: string;
  readonly policy: string;
  readonly mesh: string | undefined;
  readonly services: readonly Entry[];
  readonly clusters: readonly Piece[];
  readonly virtualServices: readonly Piece[];
}

interface Kept extends Content {
  readonly parts: Parts;
  /** From which revision on this service has had each of the last bundles, oldest first. */
  readonly bundles: readonly { readonly sequence: bigint; readonly from: number }[];
}

/** What of the resources concerns one service; made again when they change, or when there are services that were not known. */
interface Scoped {
  readonly policy: string;
  readonly reach: Reach;
}

/** Which parts a service's snapshot has. */
interface Needed {
  readonly ids: readonly string[];
  readonly bare: ReadonlySet<string>;
  readonly clusters: readonly Piece[];
  readonly virtualServices: readonly Piece[];
}

const bundlesKept = 8;

export function createSnapshots(options: SnapshotsOptions): Snapshots {
  const { policy, registry, trustDomain, nextRevision } = options;
  const kept = new Map<string, Kept>();
  /** Services whose content may be out of date. */
  const stale = new Set<string>();
  const scoped = new Map<string, Scoped>();
  const needed = new Map<string, Needed>();
  let scope: Scope | undefined;
  /** Services with an instance on record; and with them those that resources declare. */
  let enrolled: ReadonlySet<string> | undefined;
  let known: ReadonlySet<string> = new Set();
  let traffic: TrafficParts | undefined;
  let isTrafficStale = true;
  let shared: { readonly text: string; readonly sequence: bigint } | undefined;
  let banned: ReadonlySet<string> | undefined;

  const entries = createEntries({
    read(service) {
      const own = `spiffe://${trustDomain}/`;
      const hosts = service.startsWith(own) ? [hostOf(service.slice(own.length))] : [];
      const { endpoints, ports } = registry.endpoints(service);
      banned ??= new Set(options.bans().ids);
      return { hosts, ports, endpoints: banned.has(service) ? [] : endpoints };
    },
  });
  const urgentPart = () => {
    if (!shared) {
      const { text, sequence } = options.bundle();
      shared = { text: `"bundle":${JSON.stringify(text)},"bans":${JSON.stringify(options.bans())}`, sequence };
    }
    return shared;
  };
  const trafficParts = (): TrafficParts => {
    if (!traffic || isTrafficStale) traffic = createTrafficParts(options.traffic(), trustDomain, traffic);
    isTrafficStale = false;
    return traffic;
  };
  const scopeOf = (service: string): Scoped => {
    let part = scoped.get(service);
    if (!part) {
      scope ??= createScope(policy());
      const set = scope(parseSpiffeId(service), trafficParts().behind(service));
      part = { policy: policyText(set), reach: reachOf(set, service) };
      scoped.set(service, part);
    }
    return part;
  };
  const needsOf = (service: string): Needed => {
    let needs = needed.get(service);
    if (!needs) {
      const parts = trafficParts();
      if (!enrolled) {
        enrolled = new Set(registry.services());
        known = new Set([...enrolled, ...parts.ids]);
      }
      const callable = expandReach(scopeOf(service).reach, known);
      const more = parts.needs({ own: service, callable: new Set(callable) });
      const isOutside = (id: string): boolean => parts.isOutside(id) && !enrolled!.has(id);
      const inside = unambiguous(callable, enrolled).filter((id) => !isOutside(id));
      needs = {
        ids: [...new Set([...inside, ...more.throughIds, ...more.bareIds])].sort(),
        bare: new Set(more.bareIds),
        clusters: more.clusters,
        virtualServices: more.virtualServices,
      };
      needed.set(service, needs);
    }
    return needs;
  };
  const partsOf = (service: string): Parts => {
    const { ids, bare, clusters, virtualServices } = needsOf(service);
    const services = ids.map((id) => (bare.has(id) ? entries.bare(id) : entries.of(id)));
    const { mesh } = trafficParts();
    return { urgent: urgentPart().text, policy: scopeOf(service).policy, mesh, services, clusters, virtualServices };
  };
  const staleAll = (): void => {
    for (const service of kept.keys()) stale.add(service);
  };
  const forgetKnown = (): void => {
    enrolled = undefined;
    needed.clear();
    staleAll();
  };

  return {
    refresh(service, above = 0) {
      const before = kept.get(service);
      const isAbove = before !== undefined && before.revision > above;
      if (isAbove && !stale.has(service)) return before;
      const parts = partsOf(service);
      stale.delete(service);
      if (isAbove && isSame(before.parts, parts)) return before;
      const revision = Math.max(nextRevision(), above + 1, (before?.revision ?? 0) + 1);
      const { sequence } = urgentPart();
      const bundles = before?.bundles ?? [];
      const isSameBundle = bundles.at(-1)?.sequence === sequence;
      const next: Kept = {
        revision,
        parts,
        whole: wholeOf({ service, revision, policyRevision: policy().revision, parts }),
        change: before && changeBetween(before, { revision, parts }),
        bundles: isSameBundle ? bundles : [...bundles, { sequence, from: revision }].slice(-bundlesKept),
      };
      kept.set(service, next);
      return next;
    },
    current: (service) => kept.get(service),
    holdsBundle({ service, revision, sequence }) {
      const first = kept.get(service)?.bundles.find((bundle) => bundle.sequence >= sequence);
      return first !== undefined && revision >= first.from;
    },
    changed(what) {
      if (what === 'resources') {
        scoped.clear();
        scope = undefined;
        isTrafficStale = true;
        forgetKnown();
      } else if (what === 'bundle' || what === 'bans') {
        shared = undefined;
        banned = undefined;
        // A banned service has no endpoints for anybody.
        if (what === 'bans') entries.stale();
        staleAll();
      } else {
        entries.stale(what.endpointsOf);
        // One that was not known may be what a pattern means.
        if (enrolled && !enrolled.has(what.endpointsOf)) forgetKnown();
        for (const [service, { ids }] of needed) if (ids.includes(what.endpointsOf)) stale.add(service);
      }
    },
  };
}

function policyText({ rules, groups, issuers, models }: PolicySet): string {
  const text = [
    `"rules":[${rules.map(ruleText).join()}],"groups":${JSON.stringify(groups)}`,
    ...(issuers ? [`"issuers":${JSON.stringify(issuers)}`] : []),
    ...(models ? [`"models":${JSON.stringify(models)}`] : []),
  ].join();
  return `${text},"digest":"${createHash('sha256').update(text).digest('base64url')}"`;
}

const ruleTexts = new WeakMap<PolicyRule, string>();

/** Many services have the same rules. */
function ruleText(rule: PolicyRule): string {
  let text = ruleTexts.get(rule);
  if (text === undefined) {
    text = JSON.stringify(rule);
    ruleTexts.set(rule, text);
  }
  return text;
}

type Whole = { service: string; revision: number; policyRevision: number; parts: Parts };

function wholeOf({ service, revision, policyRevision, parts }: Whole): () => Buffer {
  const { urgent, policy, mesh, services, clusters, virtualServices } = parts;
  const list = (all: readonly { readonly text: string }[]): string => all.map(({ text }) => text).join();
  return shortLived(() =>
    [
      `{"type":"snapshot","snapshot":{"version":${wireVersion},"revision":${revision},"service":${JSON.stringify(service)}`,
      urgent,
      `"services":[${list(services)}],"clusters":[${list(clusters)}],"virtualServices":[${list(virtualServices)}]`,
      ...(mesh === undefined ? [] : [`"mesh":${mesh}`]),
      `"policy":{${policy},"revision":${policyRevision}}}}\n`,
    ].join(),
  );
}

function changeBetween(
  { parts: before, revision: from }: Kept,
  after: Pick<Kept, 'revision' | 'parts'>,
): Kept['change'] {
  const { revision, parts } = after;
  if (before.urgent !== parts.urgent || before.policy !== parts.policy || before.mesh !== parts.mesh) return undefined;
  const head = `{"type":"change","change":{"from":${from},"revision":${revision}`;
  return { from, line: shortLived(() => `${head}${changeText(before, parts)}}}\n`) };
}

/** Made when somebody asks and soon let go: all listeners of a service ask in one go, and of many services none does. */
function shortLived(make: () => string): () => Buffer {
  let made: WeakRef<Buffer> | undefined;
  return () => {
    let line = made?.deref();
    if (!line) {
      line = Buffer.from(make());
      made = new WeakRef(line);
    }
    return line;
  };
}

/** Parts that did not change are the same objects. */
function isSame(one: Parts, other: Parts): boolean {
  return (
    one.urgent === other.urgent &&
    one.policy === other.policy &&
    one.mesh === other.mesh &&
    isSameList(one.services, other.services) &&
    isSameList(one.clusters, other.clusters) &&
    isSameList(one.virtualServices, other.virtualServices)
  );
}

function isSameList(one: readonly unknown[], other: readonly unknown[]): boolean {
  return one.length === other.length && one.every((item, index) => item === other[index]);
}

/** A name that policies made up never takes the host of a service that is enrolled; of two made-up ones the first keeps it. */
function unambiguous(services: readonly string[], enrolled: ReadonlySet<string>): string[] {
  const holders = new Map<string, string>();
  for (const service of services) {
    const host = hostOf(service.slice(service.indexOf('/', 'spiffe://'.length) + 1));
    const holder = holders.get(host);
    if (holder === undefined || (enrolled.has(service) && !enrolled.has(holder))) holders.set(host, service);
  }
  const chosen = new Set(holders.values());
  return services.filter((service) => chosen.has(service));
}

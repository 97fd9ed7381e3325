// What the proxies of a service must hold now: rules scoped to it, the services it may call, bans, bundle. One text for each service, made
// from cached parts; a new revision only when its content differs, so that nobody is woken by what does not concern them.
import { createHash } from 'node:crypto';
import type { PolicySet, Snapshot } from '#wire';
import { wireVersion } from '#wire';
import { hostOf } from './hosts.ts';
import { expandReach, type Reach, reachOf } from './reach.ts';
import type { Registry } from './registry.ts';

/** The newest snapshot of one service. */
export interface Content {
  readonly revision: number;
  /** The whole watch event, one line with its end. */
  readonly line: string;
}

export interface Snapshots {
  /** Brings one service up to date. `above` is a revision that the new one must exceed, for a proxy that is ahead. */
  refresh(service: string, above?: number): Content;
  current(service: string): Content | undefined;
  /** Whether a proxy of this service that acknowledged `revision` holds the bundle of `sequence` or a later one. */
  holdsBundle(o: { readonly service: string; readonly revision: number; readonly sequence: bigint }): boolean;
  /** Drops what was derived from the old one. */
  changed(what: 'policy' | 'bundle' | 'bans' | { readonly endpointsOf: string }): void;
}

export interface SnapshotsOptions {
  readonly policy: () => PolicySet;
  readonly scope: (set: PolicySet, service: string) => PolicySet;
  readonly registry: Pick<Registry, 'endpoints' | 'services'>;
  readonly bundle: () => { readonly text: string; readonly sequence: bigint };
  readonly bans: () => Snapshot['bans'];
  readonly trustDomain: string;
  readonly nextRevision: () => number;
}

interface Kept extends Content {
  readonly body: string;
  /** From which revision on this service has had each of the last bundles, oldest first. */
  readonly bundles: readonly { readonly sequence: bigint; readonly from: number }[];
}

const bundlesKept = 8;

export function createSnapshots(options: SnapshotsOptions): Snapshots {
  const { policy, scope, registry, trustDomain, nextRevision } = options;
  const kept = new Map<string, Kept>();
  const scoped = new Map<string, { readonly text: string; readonly reach: Reach }>();
  const entries = new Map<string, string>();
  let shared: { readonly text: string; readonly sequence: bigint } | undefined;

  const sharedPart = () => {
    if (!shared) {
      const { text, sequence } = options.bundle();
      shared = { text: `"bundle":${JSON.stringify(text)},"bans":${JSON.stringify(options.bans())}`, sequence };
    }
    return shared;
  };
  const policyPart = (service: string) => {
    let part = scoped.get(service);
    if (!part) {
      const set = scope(policy(), service);
      const text = `"rules":${JSON.stringify(set.rules)},"groups":${JSON.stringify(set.groups)}${set.issuers ? `,"issuers":${JSON.stringify(set.issuers)}` : ''}${set.models ? `,"models":${JSON.stringify(set.models)}` : ''}`;
      const digest = createHash('sha256').update(text).digest('base64url');
      part = { text: `${text},"digest":"${digest}"`, reach: reachOf(set, service) };
      scoped.set(service, part);
    }
    return part;
  };
  const entry = (service: string): string => {
    let text = entries.get(service);
    if (text === undefined) {
      const own = `spiffe://${trustDomain}/`;
      const hosts = service.startsWith(own) ? [hostOf(service.slice(own.length))] : [];
      const { endpoints, ports } = registry.endpoints(service);
      const isBanned = options.bans().ids.includes(service);
      text = JSON.stringify({ id: service, hosts, ports, endpoints: isBanned ? [] : endpoints });
      entries.set(service, text);
    }
    return text;
  };

  return {
    refresh(service, above = 0) {
      const { text, sequence } = sharedPart();
      const rules = policyPart(service);
      const services = unambiguous(expandReach(rules.reach, registry.services()), new Set(registry.services()));
      const body = `${text},"services":[${services.map(entry).join(',')}],"policy":{${rules.text}`;
      const before = kept.get(service);
      if (before && before.body === body && before.revision > above) return before;
      const revision = Math.max(nextRevision(), above + 1, (before?.revision ?? 0) + 1);
      const head = `"version":${wireVersion},"revision":${revision},"service":${JSON.stringify(service)}`;
      const line = `{"type":"snapshot","snapshot":{${head},${body},"revision":${policy().revision}}}}\n`;
      const bundles = before?.bundles ?? [];
      const isSameBundle = bundles.at(-1)?.sequence === sequence;
      const next: Kept = {
        ...{ revision, line, body },
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
      if (what === 'policy') scoped.clear();
      else if (what === 'bundle' || what === 'bans') shared = undefined;
      else entries.delete(what.endpointsOf);
      // A banned service has no endpoints for anybody.
      if (what === 'bans') entries.clear();
    },
  };
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

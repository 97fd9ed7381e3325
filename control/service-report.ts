// What is known of one service. A service is known when it was enrolled, when something is declared of it, or when a rule names it.
import type { RecordStore } from '#audit';
import type { Clock } from '#base/clock';
import { suggest } from '#base/suggest';
import type { Authority } from '#ca';
import { hostOf } from '#routing';
import { parseSpiffeId } from '#spiffe';
import {
  type LocatedResource,
  mostRules,
  type PolicyRule,
  type PolicySet,
  type ServiceName,
  type ServiceReport,
} from '#wire';
import { fail } from './errors.ts';
import { serviceIdOf } from './named.ts';
import { type StatusParts, statusOfProxies } from './proxy-status.ts';
import type { Resources } from './resources.ts';

export interface ReportParts extends StatusParts {
  readonly authority: Authority;
  readonly resources: Resources;
  readonly records: Pick<RecordStore, 'tally'>;
  readonly clock: Clock;
}

const hourMs = 3_600_000;
/** Pairs of which the denials are added up. */
const mostPairs = 1_000;

/** Every service that is known, by name. */
export function serviceNames(parts: ReportParts): ServiceName[] {
  const { registry, authority } = parts;
  const instances = new Map<string, number>();
  for (const { service } of registry.all()) instances.set(service, (instances.get(service) ?? 0) + 1);
  return [...knownIds(parts)]
    .sort()
    .map((id) => ({ id, name: nameOf(id, authority.trustDomain), instances: instances.get(id) ?? 0 }));
}

/** By name, SPIFFE ID or instance. Throws SERVICE_NAME_UNKNOWN with the nearest name. */
export function reportService(word: string, parts: ReportParts): ServiceReport {
  const { authority, registry, resources, records, clock } = parts;
  const { trustDomain } = authority;
  const known = knownIds(parts);
  // Whoever has the name of an instance wants to know of its service.
  const id = registry.get(word)?.service ?? serviceIdOf(word, trustDomain);
  if (id === undefined || !known.has(id)) {
    const near = suggest(
      word,
      [...known].map((each) => nameOf(each, trustDomain)),
    );
    throw fail('SERVICE_NAME_UNKNOWN', {
      name: word,
      fix: near ? `did you mean ${near}?` : 'postern status lists those that run',
    });
  }
  const now = clock.now();
  const name = nameOf(id, trustDomain);
  const identity = authority.identities().find((one) => one.id === id);
  const ban = authority.bans().find((one) => one.id === id);
  const since = Math.floor(now / hourMs) * hourMs - hourMs;
  const denied = records.tally({ by: 'denied-pairs', since, limit: mostPairs });
  const count = (of: 'peer' | 'service'): number =>
    denied.reduce((sum, row) => sum + (row[of] === id && row.decision === 'deny' ? row.count : 0), 0);
  return {
    ...{ id, name, isEnrolled: identity !== undefined },
    ...(ban ? { ban } : {}),
    host: hostOf(name),
    ports: registry.endpoints(id).ports,
    proxies: statusOfProxies(
      [...registry.all()].filter(({ service }) => service === id),
      parts,
    ),
    certificates: identity?.certificates.filter(({ notAfter }) => notAfter > now) ?? [],
    resources: resourcesOf(name, resources.list()),
    policy: policyOf(id, resources.policy),
    denials: { since, called: count('service'), calling: count('peer') },
  };
}

function knownIds({ authority, registry, resources }: ReportParts): Set<string> {
  const { trustDomain } = authority;
  const enrolled = authority.identities().flatMap(({ id }) => (parseSpiffeId(id).isReserved ? [] : [id]));
  const declared = resources.list().flatMap(({ resource }) => {
    if (resource.kind !== 'Cluster' && resource.kind !== 'VirtualService') return [];
    return serviceIdOf(resource.service ?? resource.name, trustDomain) ?? [];
  });
  const named = resources.policy.rules.flatMap(({ to, from }) => [...to, ...from]).filter(isExact);
  return new Set([...enrolled, ...registry.services(), ...declared, ...named]);
}

function isExact(text: string): boolean {
  return text.startsWith('spiffe://') && !text.endsWith('/**');
}

function nameOf(id: string, trustDomain: string): string {
  const own = `spiffe://${trustDomain}/`;
  return id.startsWith(own) ? id.slice(own.length) : id;
}

function resourcesOf(name: string, all: readonly LocatedResource[]): LocatedResource[] {
  const clusters = new Set([name]);
  for (const { resource } of all)
    if (resource.kind === 'Cluster' && (resource.service ?? resource.name) === name) clusters.add(resource.name);
  return all.filter(({ resource }) => {
    if (resource.kind === 'Cluster') return clusters.has(resource.name) && (resource.service ?? resource.name) === name;
    if (resource.kind !== 'VirtualService') return false;
    if ((resource.service ?? resource.name) === name) return true;
    const { http = [], tcp = [], tls = [] } = resource;
    const targets = [...http, ...tcp, ...tls].flatMap((route) => [
      ...(route.route ?? []),
      ...('mirror' in route ? (route.mirror ?? []) : []),
    ]);
    return targets.some(({ cluster }) => clusters.has(cluster));
  });
}

function policyOf(id: string, set: PolicySet): ServiceReport['policy'] {
  const members = (text: string): readonly string[] =>
    text.startsWith('group:') ? (set.groups[text.slice('group:'.length)] ?? []) : [text];
  const isIt = (text: string): boolean =>
    members(text).some((one) => one === '*' || one === id || (one.endsWith('/**') && id.startsWith(one.slice(0, -2))));
  const to = set.rules.filter((rule) => rule.to.some(isIt));
  const from = set.rules.filter((rule) => rule.from.some(isIt));
  const shown = [...to.slice(0, mostRules), ...from.slice(0, mostRules)];
  const groups = new Set(shown.flatMap((rule: PolicyRule) => [...rule.to, ...rule.from]));
  return {
    revision: set.revision,
    to: to.slice(0, mostRules),
    from: from.slice(0, mostRules),
    more: Math.max(0, to.length - mostRules) + Math.max(0, from.length - mostRules),
    groups: Object.fromEntries(Object.entries(set.groups).filter(([name]) => groups.has(`group:${name}`))),
    models: (set.models ?? []).filter((model) => model.to.some(isIt)).map(({ name }) => name),
  };
}

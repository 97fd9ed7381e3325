// The resources in force, and how they change: all or nothing, checked as the whole set that would result. A set with a fault never
// becomes the policy of anybody.
import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '#base/clock';
import { isPosternError, messageOf, type Problem } from '#base/error';
import { check } from '#base/schema';
import { suggest } from '#base/suggest';
import { buildPolicySet, compileProgram, validateResources } from '#policy';
import { problemsOfProofs, proveAssertions } from '#policy/tools';
import { buildTraffic, compileRoutes, type Traffic } from '#routing';
import { validateTraffic } from '#routing/tools';
import {
  type ApplyReply,
  type ApplyRequest,
  type LocatedResource,
  type PolicySet,
  type Resource,
  resourceSchemas,
} from '#wire';
import { fail } from './errors.ts';
import type { Store } from './store.ts';
import { clustersOf } from './traffic.ts';

export interface Resources {
  /** The policy in force. */
  readonly policy: PolicySet;
  /** The clusters and virtual services in force. */
  readonly traffic: Traffic;
  /** By kind and name. */
  list(filter?: { readonly kind?: string | undefined; readonly name?: string | undefined }): LocatedResource[];
  /** Throws RESOURCE_INVALID with every problem; with `dryRun` nothing is changed. */
  apply(request: Pick<ApplyRequest, 'resources' | 'dryRun'>, by: string): ApplyReply;
  /** Throws RESOURCE_UNKNOWN, or RESOURCE_INVALID when something that stays needs it. */
  remove(target: { readonly kind: string; readonly name: string }, by: string): ApplyReply;
  /** Makes all resources what they were at that revision, as a new revision. Throws VERSION_UNKNOWN, or RESOURCE_INVALID like `apply`. */
  rollback(target: { readonly revision: number; readonly dryRun?: boolean | undefined }, by: string): ApplyReply;
}

export interface ResourcesOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly trustDomain: string;
  /** Names of the services that are enrolled or about to be. */
  readonly services: () => ReadonlySet<string>;
  readonly onChange: () => void;
}

interface InForce {
  readonly policy: PolicySet;
  readonly traffic: Traffic;
}

type Given = ApplyRequest['resources'][number];
type Kind = keyof typeof resourceSchemas;

/** Throws RESOURCE_INVALID when what is stored no longer makes a policy: proxies then keep what they have. */
export function createResources({ store, clock, trustDomain, services, onChange }: ResourcesOptions): Resources {
  let resources = byKey(store.resources());
  let inForce = compose(resources, store.counter('policy'));

  /** What is in force already stays so, whatever became of the services that it names. */
  function compose(all: ReadonlyMap<string, LocatedResource>, revision: number, known?: ReadonlySet<string>): InForce {
    const list = [...all.values()];
    refuseProblems([...validateResources(list), ...validateTraffic(list, { trustDomain, services: known })]);
    const policy = buildPolicySet({ resources: list, trustDomain, revision });
    refuseProblems(problemsOfProofs(proveAssertions({ resources: list, set: policy, trustDomain })));
    return { policy, traffic: buildTraffic({ resources: list, trustDomain }) };
  }
  /** What may come into force: proxies refuse a snapshot whole, so one rule or route that they cannot take would hold back all the others. */
  function build(all: ReadonlyMap<string, LocatedResource>): InForce {
    const known = new Set([...services(), ...servicesLedTo(inForce.traffic)]);
    const candidate = compose(all, inForce.policy.revision, known);
    const changed = [...all].flatMap(([key, one]) => (resources.get(key) === one ? [] : [one]));
    refuseProblems([
      ...problemsOf(() => compileProgram(candidate.policy)),
      ...problemsOf(() => compileRoutes({ ...buildTraffic({ resources: changed, trustDomain }), services: [] })),
    ]);
    return candidate;
  }
  const commit = (change: {
    next: ReadonlyMap<string, LocatedResource>;
    candidate: InForce;
    put: readonly LocatedResource[];
    remove: readonly { kind: string; name: string }[];
    by: string;
  }): number => {
    const { put, remove, by, next, candidate } = change;
    const revision = store.changeResources({ put, remove, by, now: clock.now(), all: [...next.values()] });
    resources = new Map(next);
    inForce = { ...candidate, policy: { ...candidate.policy, revision } };
    onChange();
    return revision;
  };

  return {
    get policy() {
      return inForce.policy;
    },
    get traffic() {
      return inForce.traffic;
    },
    list: ({ kind, name } = {}) =>
      [...resources.values()]
        .filter(
          ({ resource }) =>
            (kind === undefined || resource.kind === kind) && (name === undefined || resource.name === name),
        )
        .sort(byKindAndName),
    apply({ resources: given, dryRun }, by) {
      const located = readResources(given);
      const next = new Map(resources);
      const put: LocatedResource[] = [];
      const changes = located.map((one) => {
        const key = keyOf(one.resource);
        const before = resources.get(key);
        next.set(key, one);
        if (!isDeepStrictEqual(before, one)) put.push(one);
        const isSame = isDeepStrictEqual(before?.resource, one.resource);
        const change = before === undefined ? 'created' : isSame ? 'unchanged' : 'updated';
        return changeOf({ change, before: before?.resource, after: one.resource, dryRun });
      });
      const candidate = build(next);
      if (dryRun || put.length === 0) return { revision: inForce.policy.revision, changes };
      return { revision: commit({ next, candidate, put, remove: [], by }), changes };
    },
    remove({ kind, name }, by) {
      const key = keyOf({ kind, name });
      if (!resources.has(key)) throw fail('RESOURCE_UNKNOWN', { kind, name });
      const next = new Map(resources);
      next.delete(key);
      const candidate = withHint(`${kind} ${name} is needed here: take this out first, then delete it`, () =>
        build(next),
      );
      const revision = commit({ next, candidate, put: [], remove: [{ kind, name }], by });
      return { revision, changes: [{ kind, name, change: 'deleted' }] };
    },
    rollback({ revision, dryRun }, by) {
      const old = store.version(revision);
      if (!old) throw fail('VERSION_UNKNOWN', { revision });
      const next = byKey(old);
      const candidate = build(next);
      const put = old.filter((one) => !isDeepStrictEqual(resources.get(keyOf(one.resource)), one));
      const gone = [...resources].filter(([key]) => !next.has(key)).map(([, { resource }]) => resource);
      const remove = gone.map(({ kind, name }) => ({ kind, name }));
      const changes: ApplyReply['changes'] = [
        ...put.map(({ resource: after }) => {
          const before = resources.get(keyOf(after))?.resource;
          return changeOf({ change: before === undefined ? 'created' : 'updated', before, after, dryRun });
        }),
        ...remove.map((one) => ({ ...one, change: 'deleted' as const })),
      ];
      if (dryRun || changes.length === 0) return { revision: inForce.policy.revision, changes };
      return { revision: commit({ next, candidate, put, remove, by }), changes };
    },
  };
}

type Change = ApplyReply['changes'][number];

function changeOf(o: {
  readonly change: Change['change'];
  readonly before: Resource | undefined;
  readonly after: Resource;
  readonly dryRun: boolean | undefined;
}): Change {
  const { change, before, after, dryRun } = o;
  const { kind, name } = after;
  return { kind, name, change, ...(dryRun && before && change === 'updated' ? { before, after } : {}) };
}

/** The shape of each, and that none is given twice; the meaning is for `validateResources`. */
function readResources(given: readonly Given[]): LocatedResource[] {
  const problems: Problem[] = [];
  const seen = new Set<string>();
  const located = given.flatMap((one, index): LocatedResource[] => {
    const { kind, name } = (one.resource ?? {}) as Record<string, unknown>;
    const found = shapeProblems(one, index);
    const key = keyOf({ kind: String(kind), name: String(name) });
    if (found.length === 0 && seen.has(key)) found.push(locate(one, { message: `${kind} ${name} is given twice` }));
    seen.add(key);
    problems.push(...found);
    // The schema of its kind has just vouched for it.
    return found.length === 0 ? [{ ...one } as LocatedResource] : [];
  });
  refuseProblems(problems);
  return located;
}

function shapeProblems(one: Given, index: number): Problem[] {
  const { kind, name } = (one.resource ?? {}) as Record<string, unknown>;
  const label = typeof name === 'string' ? `${String(kind)} ${name.slice(0, 128)}` : `resource ${index + 1}`;
  if (typeof kind !== 'string' || !Object.hasOwn(resourceSchemas, kind)) {
    const kinds = Object.keys(resourceSchemas);
    const near = typeof kind === 'string' ? suggest(kind, kinds) : undefined;
    const hint = near ? `did you mean ${near}?` : `kinds: ${kinds.join(', ')}`;
    return [locate(one, { message: `${label}: the kind is not known`, pointer: '/kind', hint })];
  }
  return check(resourceSchemas[kind as Kind], one.resource).map((problem) =>
    locate(one, { ...problem, message: `${label}: ${problem.pointer || 'it'} ${problem.message}` }),
  );
}

/** The nearest place around the pointer of which the origin knows line and column. */
function locate({ origin }: Given, problem: Problem): Problem {
  if (!origin) return problem;
  for (let at = problem.pointer ?? ''; ; at = at.slice(0, at.lastIndexOf('/'))) {
    const [line, column] = Object.hasOwn(origin.positions, at) ? origin.positions[at]! : [];
    if (line !== undefined && column !== undefined) return { ...problem, file: origin.file, line, column };
    if (at === '') return { ...problem, file: origin.file };
  }
}

function problemsOf(compile: () => unknown): Problem[] {
  try {
    compile();
    return [];
  } catch (thrown) {
    return [{ message: messageOf(thrown) }];
  }
}

function refuseProblems(problems: readonly Problem[]): void {
  if (problems.length === 0) return;
  throw fail('RESOURCE_INVALID', { count: problems.length }, { problems: problems.slice(0, 1_000) });
}

/** What stays made sense before something was taken away: what to do is not what each problem would otherwise ask for. */
function withHint<T>(hint: string, work: () => T): T {
  try {
    return work();
  } catch (thrown) {
    if (!isPosternError(thrown, 'RESOURCE_INVALID')) throw thrown;
    const { count } = thrown.details;
    throw fail('RESOURCE_INVALID', { count }, { problems: thrown.problems.map((one) => ({ ...one, hint })) });
  }
}

/** Services that routes in force lead to without a declared cluster: once there was one, or a token for it. */
function servicesLedTo({ clusters, virtualServices }: Traffic): string[] {
  const declared = new Set(clusters.map(({ name }) => name));
  return virtualServices.flatMap(clustersOf).filter((name) => !declared.has(name));
}

function byKey(resources: readonly LocatedResource[]): Map<string, LocatedResource> {
  return new Map(resources.map((one) => [keyOf(one.resource), one]));
}

function byKindAndName({ resource: one }: LocatedResource, { resource: other }: LocatedResource): number {
  return keyOf(one) < keyOf(other) ? -1 : 1;
}

function keyOf({ kind, name }: { readonly kind: string; readonly name: string }): string {
  return `${kind}/${name}`;
}

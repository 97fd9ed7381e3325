// A snapshot on its way to a thread that has the one before it: what stays is told by its place there, so that a change costs as much as it is large,
// on both sides: the thread goes on with the very objects that it has.
import type { PolicySet, Snapshot } from '#wire';
import { type RulesText, rulesFrom, textOf } from './rules-text.ts';

/** An entry as a whole, or its place in the list before. */
type Told<T> = readonly (T | number)[];

type Lists = Required<Pick<Snapshot, 'services' | 'clusters' | 'virtualServices'>>;

/** Rules that are text are shared, not copied. */
type ToldPolicy = Omit<PolicySet, 'rules'> & { readonly rules: PolicySet['rules'] | RulesText };

/** Without a policy it is the one of the snapshot before. */
export interface ToldSnapshot {
  readonly rest: Omit<Snapshot, 'policy' | keyof Lists>;
  readonly policy: ToldPolicy | undefined;
  readonly lists: { readonly [K in keyof Lists]: Told<Lists[K][number]> };
}

/** `before`: what the thread was told last. */
export function tellSnapshot(snapshot: Snapshot, before: Snapshot | undefined): ToldSnapshot {
  const { policy, services, clusters = [], virtualServices = [], ...rest } = snapshot;
  return {
    rest,
    policy: before && isSamePolicy(before.policy, policy) ? undefined : tellPolicy(policy),
    lists: {
      services: tell(services, before?.services),
      clusters: tell(clusters, before?.clusters),
      virtualServices: tell(virtualServices, before?.virtualServices),
    },
  };
}

/** `before`: what was heard last. */
export function hearSnapshot({ rest, policy, lists }: ToldSnapshot, before: Snapshot | undefined): Snapshot {
  return {
    ...rest,
    policy: policy ? hearPolicy(policy) : before!.policy,
    services: hear(lists.services, before?.services),
    clusters: hear(lists.clusters, before?.clusters),
    virtualServices: hear(lists.virtualServices, before?.virtualServices),
  };
}

function tellPolicy(policy: PolicySet): ToldPolicy {
  const text = textOf(policy.rules);
  return text ? { ...policy, rules: text } : policy;
}

function hearPolicy({ rules, ...rest }: ToldPolicy): PolicySet {
  return { ...rest, rules: 'places' in rules ? rulesFrom(rules) : rules };
}

function tell<T extends object>(entries: readonly T[], before: readonly T[] = []): Told<T> {
  if (before.length === 0) return entries;
  const places = new Map(before.map((entry, place) => [entry, place]));
  return entries.map((entry) => places.get(entry) ?? entry);
}

function hear<T extends object>(told: Told<T>, before: readonly T[] = []): readonly T[] {
  return told.map((one) => (typeof one === 'number' ? before[one]! : one));
}

/** The same object, or the same policy in the control plane's own words. */
function isSamePolicy(one: PolicySet, other: PolicySet): boolean {
  return one === other || (one.digest !== undefined && one.digest === other.digest && one.revision === other.revision);
}

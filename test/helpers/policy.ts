// Policies and questions for tests, in a few words.
import { buildPolicySet, type Question, validateResources } from '#policy';
import type { GroupResource, LocatedResource, PolicyRule, PolicySet, Resource, RuleResource } from '#wire';

export const trustDomain = 'example.org';

export function idOf(service: string): string {
  return `spiffe://${trustDomain}/${service}`;
}

/** A question from `web` to `payments`; headers as a plain record. */
export function ask(
  part: Partial<Omit<Question, 'headers'>> & { readonly headers?: Readonly<Record<string, readonly string[]>> } = {},
): Question {
  const headers = new Map(Object.entries(part.headers ?? {}));
  return {
    from: idOf('web'),
    to: idOf('payments'),
    method: 'GET',
    path: '/',
    ...part,
    headers: (name) => headers.get(name) ?? [],
  };
}

type LooseRule = Partial<RuleResource> & Pick<RuleResource, 'id' | 'effect'>;

/** One policy for `payments` (or `to`) and any groups; `from` is `*` where a rule has none. */
export function resources(
  rules: readonly LooseRule[],
  {
    groups = {},
    to = 'payments',
  }: { groups?: Readonly<Record<string, readonly string[]>>; to?: string | string[] } = {},
): LocatedResource[] {
  const written: Resource[] = [
    ...Object.entries(groups).map(([name, members]): GroupResource => ({ kind: 'Group', name, members })),
    ...(rules.length > 0
      ? [{ kind: 'Policy' as const, name: 'p', to, rules: rules.map((rule) => ({ from: ['*'], ...rule })) }]
      : []),
  ];
  return written.map((resource) => ({ resource }));
}

/** The set of these resources; throws when any problem is found in them. */
export function setOf(...given: Parameters<typeof resources>): PolicySet {
  const located = resources(...given);
  const problems = validateResources(located);
  if (problems.length > 0) throw new Error(problems.map((problem) => problem.message).join('\n'));
  return buildPolicySet({ resources: located, trustDomain, revision: 1 });
}

/** A rule as proxies get it, for sets made by hand. */
export function rawRule(part: Partial<PolicyRule> & Pick<PolicyRule, 'id' | 'effect'>): PolicyRule {
  return { policy: 'p', to: [idOf('payments')], from: ['*'], ...part };
}

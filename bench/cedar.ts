// The rules of the policy benchmark as Cedar policies, decided by Cedar's own engine in WebAssembly: what the same rules cost elsewhere. Not a general
// translation: it knows what `bench/policy.ts` makes, and its answers are compared with the program's.
import { preparsePolicySet, statefulIsAuthorized } from '@cedar-policy/cedar-wasm/nodejs';
import type { Question } from '#policy';
import type { PolicyRule, PolicySet } from '#wire';

export interface Cedar {
  decide(question: Question): 'allow' | 'deny';
}

/** Parsed once, kept inside of Cedar under a name. Throws when Cedar does not take it. */
export function createCedar(set: PolicySet): Cedar {
  const id = `set-${set.rules.length}`;
  const staticPolicies = Object.fromEntries(set.rules.map((rule) => [rule.id, policyText(rule)]));
  const parsed = preparsePolicySet(id, { staticPolicies, templates: {}, templateLinks: [] });
  if (parsed.type !== 'success') throw new Error(parsed.errors[0]?.message);
  const groups = Object.entries(set.groups);
  const parents = new Map<string, { type: string; id: string }[]>();
  const parentsOf = (from: string) => {
    let found = parents.get(from);
    if (!found) {
      const bases = from
        .split('/')
        .flatMap((_, at, parts) => (at >= 3 ? [{ type: 'Below', id: parts.slice(0, at).join('/') }] : []));
      const own = groups.flatMap(([name, members]) => (members.includes(from) ? [{ type: 'Group', id: name }] : []));
      found = [...bases, ...own];
      parents.set(from, found);
    }
    return found;
  };
  return {
    decide({ from, to, method, path, headers }) {
      const principal = { type: 'Service', id: from };
      const [env] = headers('x-env');
      const answer = statefulIsAuthorized({
        principal,
        action: { type: 'Action', id: method },
        resource: { type: 'Service', id: to },
        context: { path, ...(env === undefined ? {} : { env }) },
        preparsedPolicySetId: id,
        entities: [{ uid: principal, attrs: {}, parents: parentsOf(from) }],
      });
      if (answer.type !== 'success') throw new Error(answer.errors[0]?.message);
      return answer.response.decision === 'allow' ? 'allow' : 'deny';
    },
  };
}

function policyText({
  effect,
  from: [from = ''],
  to: [to = ''],
  methods = [],
  paths = [],
  when = [],
}: PolicyRule): string {
  const principal = from.startsWith('group:')
    ? `principal in Group::"${from.slice(6)}"`
    : from.endsWith('/**')
      ? `principal in Below::"${from.slice(0, -3)}"`
      : `principal == Service::"${from}"`;
  const actions = methods.map((method) => `Action::"${method}"`).join(', ');
  const path = paths.map(pathText).join(' || ');
  const env = when.map(
    ({ in: values }) => `context has env && [${values.map((value) => `"${value}"`).join(', ')}].contains(context.env)`,
  );
  const conditions = [`(${path})`, ...env].join(' && ');
  return `${effect === 'allow' ? 'permit' : 'forbid'}(${principal}, action in [${actions}], resource == Service::"${to}") when { ${conditions} };`;
}

/** Cedar's star also takes slashes; the benchmark asks nothing where that matters. */
function pathText(path: string): string {
  if (path.endsWith('/**'))
    return `context.path == "${path.slice(0, -3)}" || context.path like "${path.slice(0, -2)}*"`;
  if (path.endsWith('/{id}')) return `context.path like "${path.slice(0, -4)}*"`;
  return `context.path == "${path}"`;
}

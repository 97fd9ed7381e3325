// One rule of a `PolicySet`, read strictly and made ready to be asked. A rule that cannot be enforced exactly as written is refused here,
// never skipped: a skipped deny is a hole.
import type { PolicyRule, PolicySet } from '#wire';
import { type Condition, readCondition } from './condition.ts';
import { fail } from './errors.ts';
import { readTokenKey } from './jwks.ts';
import { readResolved } from './source.ts';
import { readTemplate, type Template } from './template.ts';

/** What a rule without paths is about. */
export const anyPath: readonly Template[] = [{ steps: [], rest: true }];

export interface ReadRule {
  /** Place in the set; the lower one is named first. */
  readonly index: number;
  /** policy/id */
  readonly name: string;
  readonly deny: boolean;
  readonly shadow: boolean;
  /** Groups resolved: SPIFFE IDs, prefixes and `*`. */
  readonly to: readonly string[];
  /** As in the set: SPIFFE IDs, prefixes, `*` and `group:NAME`. */
  readonly from: readonly string[];
  readonly methods: readonly string[] | undefined;
  readonly templates: readonly Template[] | undefined;
  readonly ports: ReadonlySet<number> | undefined;
  readonly conditions: readonly Condition[] | undefined;
  readonly written: PolicyRule;
}

export interface ReadOptions {
  /** Whether claims have somebody whose word they are; usually said by the set itself. */
  readonly hasIssuer?: boolean;
}

/** Every rule of the set; throws `POLICY_INVALID` at the first that is not exactly enforceable. */
export function readRules(set: PolicySet, options: ReadOptions = {}): ReadRule[] {
  const reading = readRulesInSteps(set, options);
  for (;;) {
    const step = reading.next();
    if (step.done) return step.value;
  }
}

/** Whether it can only be decided with the request's token, if there is one, verified. */
export function asksClaims({ conditions }: Pick<ReadRule, 'conditions'>): boolean {
  return conditions?.some(({ kind }) => kind === 'claim') ?? false;
}

/** The same a few rules at a time, for whoever must not hold the event loop. */
export function* readRulesInSteps(
  set: PolicySet,
  { hasIssuer = (set.issuers?.length ?? 0) > 0 }: ReadOptions = {},
): Generator<void, ReadRule[]> {
  const groups = new Map(Object.entries(set.groups));
  let work = 0;
  for (const [name, members] of groups) {
    for (const member of members) {
      if (++work % 1_024 === 0) yield;
      const source = readResolved(member);
      if (typeof source === 'string') refuse(`group ${name}`, `${member}: ${source}`);
      if (member.startsWith('group:')) refuse(`group ${name}`, `${member} is not resolved`);
    }
  }
  checkIssuers(set);
  const seen = new Set<string>();
  const known = new Map<string, string | undefined>();
  const rules: ReadRule[] = [];
  for (const [index, rule] of set.rules.entries()) {
    if (index % 64 === 63) yield;
    const read = readRule(rule, index, { groups, known });
    if (seen.has(read.name)) refuse(read.name, 'there are two rules of this name');
    if (!hasIssuer && asksClaims(read)) {
      refuse(read.name, 'conditions on JWT claims need a JwtIssuer, and there is none');
    }
    seen.add(read.name);
    rules.push(read);
  }
  return rules;
}

interface Reading {
  readonly groups: ReadonlyMap<string, readonly string[]>;
  /** Faults of source texts that were read before: most sources come again and again. */
  readonly known: Map<string, string | undefined>;
}

function readRule(rule: PolicyRule, index: number, { groups, known }: Reading): ReadRule {
  const name = `${rule.policy}/${rule.id}`;
  if (rule.effect !== 'allow' && rule.effect !== 'deny') refuse(name, 'its effect is neither allow nor deny');
  for (const [what, list] of Object.entries({ to: rule.to, from: rule.from })) {
    if (!Array.isArray(list) || list.length === 0) refuse(name, `its ${what} is empty`);
    for (const text of list) {
      if (!known.has(text)) known.set(text, sourceFault(text, groups));
      const fault = known.get(text);
      if (fault) refuse(name, fault);
    }
  }
  for (const list of [rule.methods, rule.paths, rule.ports, rule.when]) {
    if (list !== undefined && (!Array.isArray(list) || list.length === 0)) refuse(name, 'it has an empty list');
  }
  return {
    index,
    name,
    deny: rule.effect === 'deny',
    shadow: rule.shadow === true,
    to: rule.to.some(isGroup)
      ? rule.to.flatMap((text) => (isGroup(text) ? groups.get(text.slice(6))! : [text]))
      : rule.to,
    from: rule.from,
    methods: rule.methods,
    templates: rule.paths?.map((path) => {
      const template = readTemplate(path);
      return typeof template === 'string' ? refuse(name, `${path}: ${template}`) : template;
    }),
    ports: rule.ports && new Set(rule.ports),
    conditions: rule.when && readConditions(name, rule.when),
    written: rule,
  };
}

const isGroup = (text: string): boolean => text.startsWith('group:');

function checkIssuers({ issuers = [] }: PolicySet): void {
  for (const { issuer, audiences, keys } of issuers) {
    if (audiences.length === 0 || keys.length === 0) refuse(`issuer ${issuer}`, 'it has no audience or no key');
    for (const jwk of keys) {
      const key = readTokenKey(jwk);
      if (typeof key === 'string') refuse(`issuer ${issuer}`, key);
    }
  }
}

function sourceFault(text: string, groups: Reading['groups']): string | undefined {
  const source = readResolved(text);
  if (typeof source === 'string') return `${text}: ${source}`;
  return source.kind === 'group' && !groups.has(source.name) ? `there is no group ${source.name}` : undefined;
}

function readConditions(name: string, when: NonNullable<PolicyRule['when']>): Condition[] {
  const seen = new Set<string>();
  return when.map((condition) => {
    if (seen.has(condition.key)) refuse(name, `${condition.key} is asked twice`);
    seen.add(condition.key);
    if (!Array.isArray(condition.in) || condition.in.length === 0) refuse(name, `${condition.key} lists no value`);
    const read = readCondition(condition);
    return 'faults' in read ? refuse(name, `${condition.key}: ${read.faults[0]!.fault}`) : read.condition;
  });
}

function refuse(where: string, reason: string): never {
  throw fail('POLICY_INVALID', { reason: `${where}: ${reason}` });
}

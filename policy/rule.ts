// One rule of a `PolicySet`, read strictly and made ready to be asked. A rule that cannot be enforced exactly as written is refused here,
// never skipped: a skipped deny is a hole.
import type { PolicyRule, PolicySet } from '#wire';
import { type Condition, readCondition } from './condition.ts';
import { fail } from './errors.ts';
import { readTokenKey } from './jwks.ts';
import { readResolved } from './source.ts';
import { readTemplate, type Template } from './template.ts';
import { getOrAdd } from './trie.ts';

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

/** Reads one rule of the set; throws `POLICY_INVALID` when it is not exactly enforceable. To be asked for each of them once. */
export type RuleReader = (rule: PolicyRule, index: number) => ReadRule;

/** Every rule of the set; throws `POLICY_INVALID` at the first that is not exactly enforceable. */
export function readRules(set: PolicySet, options: ReadOptions = {}): ReadRule[] {
  const opening = openRules(set, options);
  for (;;) {
    const step = opening.next();
    if (step.done) return Array.from(set.rules, step.value);
  }
}

/** policy/id, which no other rule of the set has. */
export const nameOf = ({ policy, id }: Pick<PolicyRule, 'policy' | 'id'>): string => `${policy}/${id}`;

/** Whether it can only be decided with the request's token, if there is one, verified. */
export function asksClaims({ conditions }: Pick<ReadRule, 'conditions'>): boolean {
  return conditions?.some(({ kind }) => kind === 'claim') ?? false;
}

/** Checks what the rules stand on, in steps for whoever must not hold the event loop, and gives what reads them one by one. */
export function* openRules(
  set: PolicySet,
  { hasIssuer = (set.issuers?.length ?? 0) > 0 }: ReadOptions = {},
): Generator<void, RuleReader> {
  const groups = new Map(Object.entries(set.groups));
  let work = 0;
  for (const [name, members] of groups) {
    for (const member of members) {
      if (++work % 256 === 0) yield;
      const source = readResolved(member);
      if (typeof source === 'string') refuse(`group ${name}`, `${member}: ${source}`);
      if (member.startsWith('group:')) refuse(`group ${name}`, `${member} is not resolved`);
    }
  }
  checkIssuers(set);
  const isNew = createNames();
  const known = new Map<string, string>();
  return (rule, index) => {
    const read = readRule(rule, index, { groups, known });
    if (!isNew(rule)) refuse(read.name, 'there are two rules of this name');
    if (!hasIssuer && asksClaims(read)) {
      refuse(read.name, 'conditions on JWT claims need a JwtIssuer, and there is none');
    }
    return read;
  };
}

/** Whether no rule before had the name. Without a text of each: there would be a hundred thousand that nothing else needs. */
function createNames(): (rule: PolicyRule) => boolean {
  const names = new Map<string, Set<string>>();
  return ({ policy, id }) => {
    // a/b with c, and a with b/c, are one name.
    const slash = policy.indexOf('/');
    const [first, rest] = slash < 0 ? [policy, id] : [policy.slice(0, slash), `${policy.slice(slash + 1)}/${id}`];
    const among = getOrAdd(names, first, () => new Set());
    const before = among.size;
    among.add(rest);
    return among.size > before;
  };
}

interface Reading {
  readonly groups: ReadonlyMap<string, readonly string[]>;
  /** Faults of source texts that were read before, empty for none: most sources come again and again. */
  readonly known: Map<string, string>;
}

function readRule(rule: PolicyRule, index: number, reading: Reading): ReadRule {
  const name = nameOf(rule);
  const { effect, shadow, to, from, methods, paths, ports, when } = rule;
  if (effect !== 'allow' && effect !== 'deny') refuse(name, 'its effect is neither allow nor deny');
  checkSources(name, { what: 'to', list: to }, reading);
  checkSources(name, { what: 'from', list: from }, reading);
  if (isNoList(methods) || isNoList(paths) || isNoList(ports) || isNoList(when)) refuse(name, 'it has an empty list');
  return {
    index,
    name,
    deny: effect === 'deny',
    shadow: shadow === true,
    to: to.some(isGroup) ? to.flatMap((text) => (isGroup(text) ? reading.groups.get(text.slice(6))! : [text])) : to,
    from,
    methods,
    templates: paths?.map((path) => {
      const template = readTemplate(path);
      return typeof template === 'string' ? refuse(name, `${path}: ${template}`) : template;
    }),
    ports: ports && new Set(ports),
    conditions: when && readConditions(name, when),
    written: rule,
  };
}

function checkSources(name: string, { what, list }: { what: string; list: readonly string[] }, reading: Reading): void {
  if (!Array.isArray(list) || list.length === 0) refuse(name, `its ${what} is empty`);
  for (const text of list) {
    let fault = reading.known.get(text);
    if (fault === undefined) {
      fault = sourceFault(text, reading.groups) ?? '';
      reading.known.set(text, fault);
    }
    if (fault !== '') refuse(name, fault);
  }
}

const isNoList = (list: readonly unknown[] | undefined): boolean =>
  list !== undefined && (!Array.isArray(list) || list.length === 0);

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

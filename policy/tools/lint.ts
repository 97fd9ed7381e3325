// Which rules do not do what somebody wrote them for? Proved over every possible request, with a code, the place and a request that shows it.
// Says nothing about style and changes nothing.
import type { PolicySet } from '#wire';
import type { RuleRef } from '../explain.ts';
import { destinationsOf } from '../models.ts';
import type { ReadRule } from '../rule.ts';
import { readRules } from '../rule.ts';
import { boxesOf, type RuleBox } from '../space/boxes.ts';
import { createSpace } from '../space/cells.ts';
import { createVerdicts } from '../space/verdicts.ts';
import { type Witness, witnessOf } from './witness.ts';

/** What each code means; docs/policy.md has the same table. */
export const lintCodes = {
  PL001: 'shadowed: other rules of the same effect already say all of it',
  PL002: 'contradictory: every request that it would allow is denied by other rules',
  PL003: 'idle deny: nothing would allow what it denies, so it changes no answer today',
  PL004: 'duplicate: another rule says exactly the same',
  PL005: 'unreachable: no request can match it, because a group that it names is empty',
  PL006: 'over-broad: it allows everything to somebody, or somebody everywhere',
  PL007: 'unknown service: no service of that name is known to the mesh',
  PL008: 'a condition that can never hold: requests do not have that header when policy sees them',
} as const;
export type LintCode = keyof typeof lintCodes;

export interface Finding extends RuleRef {
  readonly code: LintCode;
  /** A note is no fault: an idle deny is a guard for what comes later. */
  readonly severity: 'warning' | 'note';
  readonly message: string;
  /** Absent where no request can show it (PL005, PL007, PL008). */
  readonly witness?: Witness;
  /** Other rules that it is about. */
  readonly others: readonly string[];
}

export interface LintOptions {
  /** SPIFFE IDs of every service there is; absent: not known, and PL007 is not looked for. */
  readonly known?: ReadonlySet<string>;
}

/** In the order of rules, then of codes. Throws `POLICY_INVALID`, `POLICY_TOO_COMPLEX`. */
export function lintPolicy(set: PolicySet, { known }: LintOptions = {}): Finding[] {
  const rules = readRules(set);
  const twins = findTwins(set, rules);
  const findings: Finding[] = [...effects(set, twins)];
  for (const rule of rules) {
    const report = (code: LintCode, message: string, others: readonly string[] = []): void => {
      findings.push({ ...refOf(rule), code, severity: 'warning', message, others });
    };
    const twin = twins.get(rule.name);
    if (twin) report('PL004', `${twin} says exactly the same`, [twin]);
    for (const name of emptyGroups(set, rule)) report('PL005', `group ${name} has no members`);
    const width = broadness(rule);
    if (width) report('PL006', width);
    for (const id of known ? unknownIds(rule, known) : []) report('PL007', `there is no service ${id}`);
    for (const condition of rule.conditions ?? []) {
      if (condition.kind === 'header' && neverSeen.has(condition.name))
        report('PL008', `requests have no header ${condition.name} when policy sees them`);
    }
  }
  const order = new Map(rules.map((rule, index) => [rule.name, index]));
  return findings.sort((a, b) => order.get(a.rule)! - order.get(b.rule)! || (a.code < b.code ? -1 : 1));
}

/** Headers of one connection, and of how a body is framed, are no part of the request that policy sees. */
const neverSeen = new Set([
  ...['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade', 'te', 'trailer', 'expect'],
  ...['http2-settings', 'proxy-authorization', 'proxy-authenticate'],
]);

interface Trace {
  /** A request that the rule matches. */
  witness?: Witness;
  /** An allow that is not denied somewhere; a deny that hits what other denies do not. */
  isFree: boolean;
  readonly others: Set<string>;
}

/** PL001, PL002 and PL003: rules without which every answer would be the same. */
function effects(set: PolicySet, twins: ReadonlyMap<string, string>): Finding[] {
  const boxes = boxesOf(set);
  const space = createSpace<RuleBox>(boxes);
  const verdicts = createVerdicts<ReadRule>();
  const open = new Map<ReadRule, Trace>(boxes.map(({ rule }) => [rule, { isFree: false, others: new Set() }]));
  space.visit({
    isFocus: ({ rule }) => open.has(rule),
    onCell(cell) {
      const rules = cell.boxes.map((box) => box.rule);
      for (const rule of rules) {
        const trace = open.get(rule);
        if (!trace) continue;
        const others = rules.filter((one) => one !== rule && twins.get(one.name) !== rule.name);
        const [allows, denies] = [false, true].map((deny) => others.filter((one) => one.deny === deny));
        const free = verdicts.find([rule], denies!);
        const state = free ?? verdicts.find([rule], []);
        if (state) trace.witness ??= witnessOf(space, cell, state);
        if (free) trace.isFree = true;
        const matters = rule.deny
          ? allows!.some((allow) => verdicts.find([rule, allow], denies!))
          : verdicts.find([rule], [...denies!, ...allows!]);
        if (matters) open.delete(rule);
        else
          for (const one of rule.deny || !free ? denies! : allows!)
            if (trace.others.size < 8) trace.others.add(one.name);
      }
    },
  });
  return [...open].flatMap(([rule, { witness, isFree, others }]): Finding[] => {
    if (!witness || twins.has(rule.name)) return [];
    // What a model allows only casbin can tell.
    if (rule.deny && isFree && isModelled(set, rule)) return [];
    const code = rule.deny ? (isFree ? 'PL003' : 'PL001') : isFree ? 'PL001' : 'PL002';
    const names = [...others];
    const message = code === 'PL003' ? 'no rule allows any of what it denies' : `${words[code]}: ${names.join(', ')}`;
    return [{ ...refOf(rule), code, severity: code === 'PL003' ? 'note' : 'warning', message, witness, others: names }];
  });
}

function isModelled(set: PolicySet, { to }: ReadRule): boolean {
  const covers = (one: string, other: string): boolean =>
    one === '*' || one === other || (one.endsWith('/**') && other.startsWith(one.slice(0, -2)));
  const texts = (set.models ?? []).flatMap((model) => destinationsOf(set, model));
  return texts.some((text) => to.some((other) => covers(text, other) || covers(other, text)));
}

const words = { PL001: 'covered by', PL002: 'all that it allows is denied by' } as const;

/** Later rules that say exactly what an earlier one says, with its name. */
function findTwins(set: PolicySet, rules: readonly ReadRule[]): Map<string, string> {
  const first = new Map<string, string>();
  const twins = new Map<string, string>();
  for (const { name, written, shadow, deny } of rules) {
    const { to, from, methods, paths, ports, when } = written;
    const conditions = when?.map(({ key, in: values }) => [key, [...values].sort()]).sort();
    const lists = [to, from, methods, paths, ports?.map(String)].map((list) => list && [...new Set(list)].sort());
    const key = JSON.stringify([shadow, deny, lists, conditions, set.revision]);
    const before = first.get(key);
    if (before === undefined) first.set(key, name);
    else twins.set(name, before);
  }
  return twins;
}

function emptyGroups({ groups }: PolicySet, { written, to }: ReadRule): string[] {
  const members = (text: string): readonly string[] => (text.startsWith('group:') ? groups[text.slice(6)]! : [text]);
  const isEmpty = (list: readonly string[]): boolean => list.every((text) => members(text).length === 0);
  const lists = [...(to.length === 0 ? [written.to] : []), ...(isEmpty(written.from) ? [written.from] : [])];
  return lists.flat().map((text) => text.slice(6));
}

function broadness({ deny, shadow, to, written }: ReadRule): string | undefined {
  if (deny || shadow) return undefined;
  const { from, methods, paths, when } = written;
  const wide = (list: readonly string[]): string | undefined =>
    list.find((text) => text === '*' || /^spiffe:\/\/[^/]+\/\*\*$/.test(text));
  const caller = wide(from);
  const called = wide(to);
  if (called && caller) return `it lets ${caller} call ${called}`;
  if (caller && !methods && !paths && !when) return `it lets ${caller} do everything`;
  return called && !paths && !when ? `it reaches ${called}` : undefined;
}

function unknownIds({ written }: ReadRule, known: ReadonlySet<string>): string[] {
  const isExact = (text: string): boolean => text.startsWith('spiffe://') && !text.endsWith('/**');
  return [...new Set([...written.to, ...written.from])].filter((text) => isExact(text) && !known.has(text));
}

function refOf({ name, deny, shadow, written }: ReadRule): RuleRef {
  return { rule: name, effect: deny ? 'deny' : 'allow', shadow, ...(written.source ? { source: written.source } : {}) };
}

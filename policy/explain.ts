// Why was this decided so? The deciding rule with its place in the file, every other match, and for a default deny the rules that came nearest
// with the one thing each missed. Looks at every rule: for people and tools, never for the hot path.
import type { PolicySet } from '#wire';
import { type Condition, conditionsHold } from './condition.ts';
import { combine, type Models, unloadedModels } from './models.ts';
import { createPeers, type Peer } from './peers.ts';
import { type Decision, decideAmong, type Question } from './program.ts';
import { asksClaims, type ReadRule, readRules } from './rule.ts';
import { createNode, insert, look } from './trie.ts';

export interface RuleRef {
  /** policy/id, or casbin:MODEL/ROW */
  readonly rule: string;
  readonly effect: 'allow' | 'deny';
  readonly shadow: boolean;
  readonly source?: { readonly file: string; readonly line: number; readonly column: number };
  /** Of a Casbin model: the row itself. */
  readonly row?: readonly string[];
}

export interface NearMiss extends RuleRef {
  /** What did not match. */
  readonly missed: 'from' | 'methods' | 'paths' | 'ports' | 'when';
  /** In words: what the rule wants and what the request has. */
  readonly reason: string;
}

export interface Explanation {
  readonly decision: Decision;
  readonly rule?: RuleRef;
  /** Every other rule that matched, shadow rules included. */
  readonly matched: readonly RuleRef[];
  /** For a default deny: allow rules for this destination that missed by one thing, at most ten. */
  readonly nearest: readonly NearMiss[];
  /** What each Casbin model for the called service says; `none`: nothing of its own, `fault`: it could not be asked, which denies. */
  readonly models?: readonly { readonly name: string; readonly answer: 'allow' | 'deny' | 'none' | 'fault' }[];
}

const mostNearest = 10;

/** Throws `POLICY_INVALID` like `compileProgram`. Without the models loaded, calls that they decide about are refused as that one does. */
export function explain(set: PolicySet, question: Question, models: Models = unloadedModels(set)): Explanation {
  const explained = explainRules(set, question);
  const { decision, rule, matched, nearest } = explained;
  if (decision.effect === 'deny' && decision.reason !== 'default-deny') return explained;
  if (question.token === 'refused' && models.asksToken(question.to)) {
    return { decision: deniedAs(set, 'token-refused'), matched: [...(rule ? [rule] : []), ...matched], nearest: [] };
  }
  const answers = models.answers(question);
  if (answers.length === 0) return explained;
  const combined = combine(decision, answers);
  const refs = answers.flatMap((answer): (RuleRef & { readonly row: readonly string[] })[] => {
    if (answer.rule === undefined || (answer.effect !== 'allow' && answer.effect !== 'deny')) return [];
    const { source, rows } = answer.model;
    const row = rows[answer.row!]!;
    return [{ rule: answer.rule, effect: answer.effect, shadow: false, row, ...(source ? { source } : {}) }];
  });
  const all = [...(rule ? [rule] : []), ...matched, ...refs];
  const winner = all.find((ref) => ref.rule === combined.rule);
  return {
    decision: combined,
    ...(winner ? { rule: winner } : {}),
    matched: all.filter((ref) => ref !== winner),
    nearest: combined.reason === 'default-deny' ? nearest : [],
    models: answers.map(({ model, effect }) => ({ name: model.name, answer: effect ?? ('none' as const) })),
  };
}

function deniedAs({ revision }: PolicySet, reason: Decision['reason']): Decision {
  return { effect: 'deny', reason, matched: [], shadow: [], revision };
}

function explainRules(set: PolicySet, question: Question): Explanation {
  const rules = readRules(set);
  const peers = createPeers(set);
  for (const rule of rules) for (const from of [...rule.from, ...rule.to]) peers.tokenOf(from);
  const caller = peers.peerOf(question.from);
  const called = peers.peerOf(question.to);
  const revision = set.revision;
  if (!caller || !called || question.method === '' || !question.path.startsWith('/')) {
    return { decision: deniedAs(set, 'policy-error'), matched: [], nearest: [] };
  }
  const holding = { holds: (text: string, peer: Peer): boolean => peer.holds.has(peers.tokenOf(text)) };
  const found: ReadRule[] = [];
  const nearest: NearMiss[] = [];
  let isRefused = false;
  for (const rule of rules) {
    if (!rule.to.some((text) => holding.holds(text, called))) continue;
    const misses = missesOf(
      rule,
      question,
      rule.from.some((text) => holding.holds(text, caller)),
    );
    const fits = misses.every(({ missed }) => missed === 'ports' || missed === 'when');
    if (question.token === 'refused' && fits && !rule.shadow && asksClaims(rule)) isRefused = true;
    if (misses.length === 0) found.push(rule);
    else if (misses.length === 1 && !rule.deny) nearest.push({ ...refOf(rule), ...misses[0]! });
  }
  if (isRefused) {
    return { decision: deniedAs(set, 'token-refused'), matched: found.map(refOf), nearest: [] };
  }
  const decision = decideAmong(
    found.map(({ index, deny, shadow, written: { policy, id } }) => ({ index, deny, shadow, policy, id })),
    revision,
  );
  const winner = found.find((rule) => rule.name === decision.rule);
  return {
    decision,
    ...(winner ? { rule: refOf(winner) } : {}),
    matched: found.filter((rule) => rule !== winner).map(refOf),
    nearest: decision.reason === 'default-deny' ? nearest.slice(0, mostNearest) : [],
  };
}

type Miss = Pick<NearMiss, 'missed' | 'reason'>;

function missesOf(rule: ReadRule, question: Question, fromMatches: boolean): Miss[] {
  const { method, path, port } = question;
  const misses: Miss[] = [];
  if (!fromMatches) misses.push({ missed: 'from', reason: `${question.from} is not among ${list(rule.from)}` });
  if (rule.methods && !rule.methods.includes(method)) {
    misses.push({ missed: 'methods', reason: `${method} is not among ${list(rule.methods)}` });
  }
  if (rule.templates && !pathMatches(rule, path)) {
    misses.push({ missed: 'paths', reason: `${path} does not match ${list(rule.written.paths!)}` });
  }
  if (rule.ports && !(port === undefined ? rule.deny : rule.ports.has(port))) {
    const given = port === undefined ? 'the port is not known' : `port ${port} is not`;
    misses.push({
      missed: 'ports',
      reason: `${given}${port === undefined ? '; the rule wants' : ' among'} ${list([...rule.ports])}`,
    });
  }
  for (const condition of rule.conditions ?? []) {
    if (!conditionsHold([condition], rule.deny, question))
      misses.push({ missed: 'when', reason: wanted(condition, question) });
  }
  return misses;
}

function pathMatches(rule: ReadRule, path: string): boolean {
  const root = createNode<true>();
  for (const template of rule.templates!) insert(root, template, { methods: undefined, sources: [0], item: true });
  let matches = false;
  const visit = (): void => {
    matches = true;
  };
  look(root, { path, method: '', peer: { tokens: [0], holds: new Set([0]) }, visit });
  return matches;
}

function wanted({ values, ...condition }: Condition, question: Question): string {
  const wants = `the rule wants ${values.size > 1 ? 'one of ' : ''}${list([...values])}`;
  const [what, given] = givenFor(condition, question);
  return `${what} ${given.length === 0 ? 'is absent' : `is ${list(given)}`}; ${wants}`;
}

function givenFor(
  condition: { readonly kind: Condition['kind']; readonly name?: string },
  { headers, claims, address, time }: Question,
): [string, readonly string[]] {
  const name = condition.name ?? '';
  if (condition.kind === 'header') return [`header ${name}`, headers(name)];
  if (condition.kind === 'claim') return [`claim ${name}`, claims?.(name) ?? []];
  if (condition.kind === 'address') return ['the source address', typeof address === 'string' ? [address] : []];
  return ['the time', time === undefined ? [] : [new Date(time).toISOString()]];
}

function refOf({ name, deny, shadow, written }: ReadRule): RuleRef {
  return { rule: name, effect: deny ? 'deny' : 'allow', shadow, ...(written.source ? { source: written.source } : {}) };
}

function list(items: readonly (string | number)[]): string {
  const shown = items.slice(0, 8).join(', ');
  return items.length > 8 ? `${shown} and ${items.length - 8} more` : shown;
}

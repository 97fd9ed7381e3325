// May this peer do this? An immutable program compiled from a policy set: default deny, deny beats allow, and whatever goes wrong is a deny.
// It looks only at rules that an index says can match, never at all of them, and never loads Casbin, whose answers it gives.
import type { PolicySet } from '#wire';
import { type Circumstances, conditionsHold } from './condition.ts';
import { loadModels, unloadedModels, withModels } from './models.ts';
import { createNarrow, everyEntry, smallSet } from './narrow.ts';
import { createPeers, type Peer } from './peers.ts';
import { asksClaims, nameOf } from './rule.ts';
import { type Indexed, indexRules } from './rule-index.ts';
import { basesOf, isPeerId } from './source.ts';
import { type Looking, look, type Node } from './trie.ts';

export interface Question extends Circumstances {
  /** SPIFFE URI of the verified caller. */
  readonly from: string;
  /** SPIFFE URI of the called service. */
  readonly to: string;
  readonly method: string;
  /** Canonical, without the query. */
  readonly path: string;
  /** The app port that is called. When it is not known, rules with `ports` fail closed: an allow does not match, a deny does. */
  readonly port?: number | undefined;
  /** A token is there and could not be verified: never the same as none. */
  readonly token?: 'refused' | undefined;
}

export interface Decision {
  readonly effect: 'allow' | 'deny';
  /** `token-refused`: a bad token was sent where rules ask about tokens. `self-check`: casbin would have answered otherwise. */
  readonly reason: 'allowed' | 'denied-by-rule' | 'default-deny' | 'token-refused' | 'self-check' | 'policy-error';
  /** The rule that decided, as policy/id. */
  readonly rule?: string;
  /** Every other enforced rule that matched. */
  readonly matched: readonly string[];
  /** Shadow rules that matched. */
  readonly shadow: readonly string[];
  readonly revision: number;
}

export interface Program {
  readonly revision: number;
  /** Never throws. */
  decide(question: Question): Decision;
  /** The same program made narrower for one caller, for the life of its connection; ask the new one's again after a swap. Never throws. */
  forPeer(from: string): PeerProgram;
  /** Whether any rule for calls to this ID asks about a token, so that it must be verified before `decide`. */
  asksToken(to: string): boolean;
}

export interface PeerProgram {
  /** Never throws. */
  decide(call: Omit<Question, 'from'>): Decision;
}

export interface ProgramOptions {
  /** Called for each rule that a decision looks at, for tests and benchmarks. */
  readonly onCandidate?: (rule: string) => void;
  /** Callers get an index of their own in sets of more rules than this. */
  readonly narrowAbove?: number;
}

/** As many are looked through one by one. */
const fewHits = 16;

const none: readonly string[] = Object.freeze([]);
const nobody: Peer = { tokens: [], holds: new Set() };

/** Refuses everything: what is in force before the first policy arrives. */
export const denyAll: Program = compileProgram({ revision: 0, rules: [], groups: {} });

/**
 * Throws `POLICY_INVALID` when any rule cannot be enforced exactly; nothing is enforced in part. Calls to services that a CasbinModel decides about are
 * refused: only `buildProgram` loads those.
 */
export function compileProgram(set: PolicySet, options: ProgramOptions = {}): Program {
  const models = unloadedModels(set);
  const building = buildInSteps(set, options);
  for (;;) {
    const step = building.next();
    if (step.done) return withModels(step.value, models);
  }
}

/** Whether it is compiled in a few milliseconds, and so at once: few rules, small groups, and no model that must be loaded. */
export function isQuick({ rules, groups, models = [] }: PolicySet): boolean {
  if (models.length > 0 || rules.length > quickRules) return false;
  let members = 0;
  for (const list of Object.values(groups)) members += list.length;
  for (const { to, from, paths = [], methods = [] } of rules)
    members += to.length * Math.max(1, paths.length) * Math.max(1, methods.length) * from.length;
  return members <= quickEntries;
}
const quickRules = 300;
const quickEntries = 5_000;

export interface BuildPace {
  /** Milliseconds that never go back. */
  readonly monotonic: () => number;
  /** Lets others run: resolves in a later turn of the event loop. */
  readonly pause: () => Promise<void>;
  /** How long a turn may work, milliseconds. */
  readonly sliceMs?: number;
  /** Puts something around the program of the rules, before the models come beside it. */
  readonly around?: (rules: Program) => Program;
  /** Ends the build: it rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** As `compileProgram`, with the models loaded, in turns of a few milliseconds: connections are served meanwhile by the program that is in force. */
export async function buildProgram(set: PolicySet, pace: BuildPace): Promise<Program> {
  const { monotonic, pause, sliceMs = 3, around = (rules) => rules, signal } = pace;
  const building = buildInSteps(set, {});
  for (;;) {
    const end = monotonic() + sliceMs;
    do {
      const step = building.next();
      if (step.done) return withModels(around(step.value), await loadModels(set));
    } while (monotonic() < end);
    await pause();
    signal?.throwIfAborted();
  }
}

function* buildInSteps(
  set: PolicySet,
  { onCandidate, narrowAbove = smallSet }: ProgramOptions,
): Generator<void, Program> {
  const { revision } = set;
  const peers = createPeers(set);
  const index = yield* indexRules(set, peers.tokenOf);
  const rootsOf = createRoots(index.destinations);
  const narrowed = createNarrow({ rules: set.rules, index, isLarge: set.rules.length > narrowAbove });
  // The decision of each rule that matched alone, made when first needed: most decisions are one of these.
  const alone = new Array<Decision | undefined>(set.rules.length);
  const defaultDeny = Object.freeze(decisionOf(undefined, none, none, revision));
  const failed: Decision = Object.freeze({ ...defaultDeny, reason: 'policy-error' });
  const tokenRefused: Decision = Object.freeze({ ...defaultDeny, reason: 'token-refused' });
  // What one decision found; emptied by the next. Decisions are synchronous, so there is never a second one under way.
  const hits: Indexed[] = [];
  const many = new Set<Indexed>();
  let asked: Omit<Question, 'from'>;
  let isRefused = false;

  const visit = (rule: Indexed): void => {
    // A rule with two sources or templates that match comes twice.
    if (hits.length > fewHits ? many.has(rule) : hits.includes(rule)) return;
    onCandidate?.(nameOf(rule));
    if (asked.token === 'refused' && !rule.shadow && asksClaims(rule)) isRefused = true;
    if (rule.ports && !(asked.port === undefined ? rule.deny : rule.ports.has(asked.port))) return;
    if (rule.conditions && !conditionsHold(rule.conditions, rule.deny, asked)) return;
    if (hits.push(rule) <= fewHits) return;
    if (hits.length === fewHits + 1) for (const hit of hits) many.add(hit);
    else many.add(rule);
  };
  const looking: Looking<Indexed> = { path: '/', method: '', peer: nobody, visit };

  const decideFor = (peer: Peer | undefined, call: Omit<Question, 'from'>): Decision => {
    try {
      const { to, method, path } = call;
      const roots = peer && rootsOf(to);
      if (!roots || method === '' || path.charCodeAt(0) !== 0x2f) return failed;
      asked = call;
      hits.length = 0;
      if (many.size > 0) many.clear();
      isRefused = false;
      looking.path = path;
      looking.method = method;
      const own = narrowed(peer, to);
      if (own) {
        looking.peer = everyEntry;
        look(own, looking);
      } else {
        looking.peer = peer;
        for (const root of roots) look(root, looking);
      }
      if (isRefused) return tokenRefused;
      if (hits.length === 0) return defaultDeny;
      const [first] = hits;
      if (hits.length > 1 || first!.shadow) return decideAmong(hits, revision);
      alone[first!.index] ??= Object.freeze(decisionOf(first, none, none, revision));
      return alone[first!.index]!;
    } catch {
      return failed;
    }
  };
  return Object.freeze({
    revision,
    decide: (question: Question): Decision => {
      try {
        return decideFor(peers.peerOf(question.from), question);
      } catch {
        return failed;
      }
    },
    asksToken: (to: string) => isAmong(index.asking, to),
    forPeer(from: string): PeerProgram {
      const peer = peers.peerOf(from);
      return { decide: (call) => decideFor(peer, call) };
    },
  });
}

/** Whether one of these destination texts holds the ID. */
function isAmong(texts: ReadonlySet<string>, to: string): boolean {
  return texts.size > 0 && (texts.has('*') || texts.has(to) || basesOf(to).some((base) => texts.has(`${base}/**`)));
}

/** What the answer of rules that match depends on. */
type Decisive = Pick<Indexed, 'index' | 'deny' | 'shadow' | 'policy' | 'id'>;

/** The decision when these rules are all that match. */
export function decideAmong(rules: readonly Decisive[], revision: number): Decision {
  const sorted = [...rules].sort((a, b) => a.index - b.index);
  const enforced = sorted.filter((rule) => !rule.shadow);
  const winner = enforced.find((rule) => rule.deny) ?? enforced[0];
  const matched = enforced.filter((rule) => rule !== winner).map(nameOf);
  const shadow = sorted.filter((rule) => rule.shadow).map(nameOf);
  return decisionOf(winner, matched, shadow, revision);
}

function decisionOf(
  winner: Decisive | undefined,
  matched: readonly string[],
  shadow: readonly string[],
  revision: number,
): Decision {
  if (!winner) return { effect: 'deny', reason: 'default-deny', matched, shadow, revision };
  const answer = winner.deny
    ? ({ effect: 'deny', reason: 'denied-by-rule' } as const)
    : ({ effect: 'allow', reason: 'allowed' } as const);
  return { ...answer, rule: nameOf(winner), matched, shadow, revision };
}

/** The tries that rules for an ID can be in; `undefined` for what cannot be a service's ID. The last answers are kept, in bounded memory. */
function createRoots(destinations: ReadonlyMap<string, Node<Indexed>>) {
  const kept = new Map<string, readonly Node<Indexed>[]>();
  return (to: string): readonly Node<Indexed>[] | undefined => {
    const before = kept.get(to);
    if (before) return before;
    if (!isPeerId(to)) return undefined;
    const texts = [to, '*', ...basesOf(to).map((base) => `${base}/**`)];
    const roots = texts.flatMap((text) => destinations.get(text) ?? []);
    if (kept.size >= 8_192) kept.clear();
    kept.set(to, roots);
    return roots;
  };
}

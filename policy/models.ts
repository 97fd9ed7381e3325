// Services that a user's own Casbin model decides about too (`kind: CasbinModel`), beside the rules: a deny of either wins, an allow needs either, and a
// model that cannot answer denies. Stock casbin is loaded late, and only by who holds such a model.
import type { CasbinModel, PolicySet } from '#wire';
import type { RowVerdict } from './casbin.ts';
import { type ReadModel, readCasbinModel } from './casbin-model/read.ts';
import { fieldValues } from './casbin-model/request.ts';
import { fail } from './errors.ts';
import type { Decision, Program, Question } from './program.ts';
import { basesOf, readResolved } from './source.ts';

/** What one model says about a question; `undefined`: nothing of its own, neither allow nor deny. */
export interface ModelAnswer {
  readonly effect: 'allow' | 'deny' | 'fault' | undefined;
  /** `casbin:MODEL/ROW`, the rows counted from 1; no rule of a policy can be called so. */
  readonly rule?: string;
  readonly model: CasbinModel;
  /** Place of the row that decided, from 0. */
  readonly row?: number;
}

export interface Models {
  /** Of each model for calls to this ID. Never throws. */
  answers(question: Question): readonly ModelAnswer[];
  /** Whether any model for calls to this ID asks about claims. */
  asksToken(to: string): boolean;
}

type Ask = (question: Question) => RowVerdict;

/** Ready to answer. Throws `POLICY_INVALID` for a model that cannot be enforced, `POLICY_CASBIN` when casbin did not take it as it is. */
export async function loadModels(set: PolicySet): Promise<Models> {
  const given = readModels(set);
  if (given.length === 0) return noModels;
  const { createModelEnforcer } = await import('./casbin.ts');
  const ready: Entry[] = [];
  for (const { model, read, to } of given) {
    const enforce = await createModelEnforcer(read);
    ready.push({ model, read, to, ask: askWith(read, enforce, model.trustDomain) });
  }
  return createModels(ready);
}

/** The models checked and not loaded: their services are refused. Throws `POLICY_INVALID`. */
export function unloadedModels(set: PolicySet): Models {
  const given = readModels(set);
  if (given.length === 0) return noModels;
  const ask = (): never => {
    throw new Error('the model is not loaded');
  };
  return createModels(given.map((entry) => ({ ...entry, ask })));
}

/** What each model costs on this machine: microseconds for a decision that meets every row. Throws as `loadModels`. */
export async function costOfModels(
  set: PolicySet,
  monotonic: () => number,
): Promise<{ name: string; to: readonly string[]; rows: number; microseconds: number }[]> {
  const { createModelEnforcer } = await import('./casbin.ts');
  const costs = [];
  for (const { model, read } of readModels(set)) {
    const enforce = await createModelEnforcer(read);
    const values = read.fields.map(() => '/no-row-says-this');
    const turns = Math.max(20, Math.ceil(2_000 / model.rows.length));
    for (let turn = 0; turn < turns; turn++) enforce(values);
    const start = monotonic();
    for (let turn = 0; turn < turns; turn++) enforce(values);
    const microseconds = Math.round(((monotonic() - start) * 1_000) / turns);
    costs.push({ name: model.name, to: model.to, rows: model.rows.length, microseconds });
  }
  return costs;
}

/** The models that decide about calls to the ID; without one, all. */
export function modelsFor(set: PolicySet, to?: string): readonly CasbinModel[] {
  return readModels(set).flatMap((entry) => (to === undefined || isAmong(entry.to, to) ? [entry.model] : []));
}

/** Called services of a model, groups resolved: SPIFFE IDs, prefixes and `*`. */
export function destinationsOf({ groups }: PolicySet, { to }: CasbinModel): string[] {
  return to.flatMap((text) =>
    text.startsWith('group:') && Object.hasOwn(groups, text.slice(6)) ? groups[text.slice(6)]! : [text],
  );
}

/** The one answer of rules and models together. */
export function combine(decision: Decision, answers: readonly ModelAnswer[]): Decision {
  const { reason, revision, shadow } = decision;
  if (answers.length === 0 || (reason !== 'allowed' && reason !== 'default-deny')) return decision;
  if (answers.some(({ effect }) => effect === 'fault')) {
    return { effect: 'deny', reason: 'policy-error', matched: [], shadow: [], revision };
  }
  const named = answers.flatMap((answer) => (answer.effect && answer.rule ? [{ ...answer, rule: answer.rule }] : []));
  const winner = named.find(({ effect }) => effect === 'deny') ?? (reason === 'allowed' ? undefined : named[0]);
  if (!winner)
    return named.length === 0
      ? decision
      : { ...decision, matched: [...decision.matched, ...named.map(({ rule }) => rule)] };
  const others = named.filter((answer) => answer !== winner).map(({ rule }) => rule);
  const matched = [...(decision.rule === undefined ? [] : [decision.rule]), ...decision.matched, ...others];
  const answer =
    winner.effect === 'deny'
      ? ({ effect: 'deny', reason: 'denied-by-rule' } as const)
      : ({ effect: 'allow', reason: 'allowed' } as const);
  return { ...answer, rule: winner.rule, matched, shadow, revision };
}

/** The program with the models beside it. Models are asked only when the rules have not refused already. */
export function withModels(program: Program, models: Models): Program {
  if (models === noModels) return program;
  const decide = (question: Question): Decision => {
    const decision = program.decide(question);
    if (decision.effect === 'deny' && decision.reason !== 'default-deny') return decision;
    if (question.token === 'refused' && models.asksToken(question.to)) {
      const { revision } = program;
      return { effect: 'deny', reason: 'token-refused', matched: [], shadow: [], revision };
    }
    return combine(decision, models.answers(question));
  };
  return Object.freeze({
    revision: program.revision,
    decide,
    forPeer: (from: string) => ({ decide: (call: Omit<Question, 'from'>) => decide({ ...call, from }) }),
    asksToken: (to: string) => program.asksToken(to) || models.asksToken(to),
  });
}

interface Given {
  readonly model: CasbinModel;
  readonly read: ReadModel;
  readonly to: ReadonlySet<string>;
}
interface Entry extends Given {
  readonly ask: Ask;
}

const noModels: Models = { answers: () => [], asksToken: () => false };

function createModels(entries: readonly Entry[]): Models {
  const kept = new Map<string, readonly Entry[]>();
  const entriesFor = (to: string): readonly Entry[] => {
    const before = kept.get(to);
    if (before) return before;
    const found = entries.filter((entry) => isAmong(entry.to, to));
    if (kept.size >= 8_192) kept.clear();
    kept.set(to, found);
    return found;
  };
  return {
    answers: (question) => entriesFor(question.to).map((entry) => answerOf(entry, question)),
    asksToken: (to) => entriesFor(to).some(({ read }) => read.asksClaims),
  };
}

function answerOf({ model, ask }: Entry, question: Question): ModelAnswer {
  try {
    const { effect, row } = ask(question);
    if (effect === undefined) return { effect, model };
    return { effect, model, row, rule: `casbin:${model.name}/${row + 1}` };
  } catch {
    return { effect: 'fault', model };
  }
}

/** Throws where there is no answer: something that the model asks about is not there, or is a role's name. */
function askWith(
  { fields, rolesByField }: ReadModel,
  enforce: (values: readonly string[]) => RowVerdict,
  trustDomain: string,
): Ask {
  return (question) => {
    const values = fieldValues(fields, question, trustDomain);
    if (!values) throw new TypeError('the request lacks what the model asks about');
    if (values.some((value, index) => rolesByField[index]!.has(value)))
      throw new TypeError('it has the name of a role');
    return enforce(values);
  };
}

function readModels(set: PolicySet): Given[] {
  const hasIssuer = (set.issuers?.length ?? 0) > 0;
  const names = new Set<string>();
  return (set.models ?? []).map((model) => {
    const refuse = (reason: string): never => {
      throw fail('POLICY_INVALID', { reason: `CasbinModel ${model.name}: ${reason}` });
    };
    if (names.has(model.name)) refuse('there are two of this name');
    names.add(model.name);
    const read = readCasbinModel(model);
    if (!('text' in read)) return refuse(read[0]?.message ?? 'it is no model');
    if (read.asksClaims && !hasIssuer) refuse('fields from JWT claims need a JwtIssuer, and there is none');
    const to = destinationsOf(set, model);
    for (const text of to) {
      const source = readResolved(text);
      if (typeof source === 'string') refuse(`${text}: ${source}`);
      else if (source.kind === 'group') refuse(`there is no group ${source.name}`);
    }
    return { model, read, to: new Set(to) };
  });
}

function isAmong(texts: ReadonlySet<string>, to: string): boolean {
  return texts.has('*') || texts.has(to) || basesOf(to).some((base) => texts.has(`${base}/**`));
}

// What does stock Casbin answer? The export of our rules for any Casbin, an oracle that asks node-casbin about them, and users' own models. The only
// importer of casbin. Never asked through its async or cached interfaces, never told to reload: one enforcer for one set.
import { readFileSync } from 'node:fs';
import { type Adapter, type Model, newEnforcer, newModelFromString } from 'casbin';
import { messageOf } from '#base/error';
import type { PolicySet } from '#wire';
import type { ReadModel } from './casbin-model/read.ts';
import { fail } from './errors.ts';
import { importRows } from './import.ts';
import type { Question } from './program.ts';
import { casbinRequest, casbinRows, formatCsv, keysAsked, permissionColumns, roleColumns } from './rows.ts';

export interface CasbinExport {
  /** policy/model.conf */
  readonly model: string;
  readonly rows: readonly (readonly string[])[];
  readonly csv: string;
}

export interface CasbinOracle {
  /** Never throws: what Casbin cannot answer is a deny. */
  decide(question: Question): 'allow' | 'deny';
  /** The name of a rule that Casbin gives as its reason (the first deny, or an allow). */
  ruleOf(question: Question): string | undefined;
}

/** The model text is read from beside this file. Throws `POLICY_INVALID`. */
export function exportCasbin(set: PolicySet): CasbinExport {
  const rows = casbinRows(set);
  return { model: readFileSync(new URL('./model.conf', import.meta.url), 'utf8'), rows, csv: formatCsv(rows) };
}

/**
 * The rules and groups of a model and a CSV of rows that were exported from here. Throws `POLICY_INVALID` with the row and the reason for a model, a row or a
 * spelling that is not exactly ours.
 */
export function importCasbin({
  model,
  csv,
}: {
  readonly model: string;
  readonly csv: string;
}): Pick<PolicySet, 'rules' | 'groups'> {
  if (model.replaceAll('\r\n', '\n') !== exportCasbin({ revision: 0, rules: [], groups: {} }).model) {
    throw fail('POLICY_INVALID', { reason: 'the model is not policy/model.conf' });
  }
  const lines = csv.replaceAll('\r\n', '\n').split('\n');
  const rows = lines.filter((line) => line !== '').map((line) => line.split(', '));
  if (formatCsv(rows).trimEnd() !== lines.filter((line) => line !== '').join('\n')) {
    throw fail('POLICY_INVALID', {
      reason: 'the rows are not written as ours are: one a line, fields apart by a comma and a space',
    });
  }
  return importRows(rows);
}

/** A new enforcer that holds exactly this set. Throws `POLICY_INVALID`, or `POLICY_CASBIN` when Casbin did not take every row as it is. */
export async function createCasbin(set: PolicySet): Promise<CasbinOracle> {
  const { model, rows } = exportCasbin(set);
  const keys = keysAsked(set);
  const enforcer = await load(model, rows);
  const ask = (question: Question): readonly [unknown, readonly string[]] =>
    enforcer.enforceExSync(...casbinRequest(question, keys));
  return {
    decide(question) {
      try {
        // `=== true`: a promise, a string or anything else that is merely truthy must never allow.
        return ask(question)[0] === true ? 'allow' : 'deny';
      } catch {
        return 'deny';
      }
    },
    ruleOf(question) {
      try {
        return ask(question)[1][0];
      } catch {
        return undefined;
      }
    },
  };
}

/** What a model's rows say: a row, by its place among those given, that allows or denies; or nothing. */
export type RowVerdict =
  | { readonly effect: undefined; readonly row?: never }
  | { readonly effect: 'allow' | 'deny'; readonly row: number };

/** A new enforcer for one user's model, which asks it about field values. What it gives throws when casbin does. Throws `POLICY_CASBIN`. */
export async function createModelEnforcer({
  text,
  rows,
}: ReadModel): Promise<(values: readonly string[]) => RowVerdict> {
  const enforcer = await loadRows(text, rows);
  const places = new Map(rows.flatMap((row, index) => (row[0] === 'p' ? [[keyOf(row.slice(1)), index] as const] : [])));
  return (values) => {
    const [isAllowed, decisive] = enforcer.enforceExSync(...values);
    const row = decisive.length > 0 ? places.get(keyOf(decisive)) : undefined;
    // `=== true`: whatever else is merely truthy must never allow. And no answer without a row that gives it.
    if (isAllowed === true && row !== undefined) return { effect: 'allow', row };
    return row === undefined || isAllowed === true ? { effect: undefined } : { effect: 'deny', row };
  };
}

const keyOf = (fields: readonly string[]): string => JSON.stringify(fields);

function load(model: string, rows: readonly (readonly string[])[]) {
  for (const row of rows) checkRow(row);
  return loadRows(model, rows);
}

async function loadRows(model: string, rows: readonly (readonly string[])[]) {
  try {
    const enforcer = await newEnforcer(newModelFromString(model), memoryAdapter(rows));
    // Casbin drops what it does not understand without a word; so what it holds is counted.
    const kinds = new Set(rows.map(([kind]) => kind!));
    let held = 0;
    for (const kind of kinds) {
      const of = kind === 'p' ? enforcer.getNamedPolicy(kind) : enforcer.getNamedGroupingPolicy(kind);
      held += (await of).length;
    }
    if (held !== rows.length) throw fail('POLICY_CASBIN', { reason: `it holds ${held} of ${rows.length} rows` });
    return enforcer;
  } catch (cause) {
    throw fail('POLICY_CASBIN', { reason: messageOf(cause) }, { cause });
  }
}

function checkRow(row: readonly string[]): void {
  const [kind] = row;
  const width = kind === 'p' ? permissionColumns : kind === 'g' ? roleColumns : -1;
  if (row.length !== width || row.includes('')) throw fail('POLICY_CASBIN', { reason: `a row is not ours: ${row[1]}` });
  const effect = row.at(-1);
  if (kind === 'p' && effect !== 'allow' && effect !== 'deny') {
    throw fail('POLICY_CASBIN', { reason: `the effect of ${row[1]} is neither allow nor deny` });
  }
}

/** Hands the rows over as arrays: Casbin's own CSV reader merges and drops columns. */
function memoryAdapter(rows: readonly (readonly string[])[]): Adapter {
  const refuse = async (): Promise<never> => {
    throw fail('POLICY_CASBIN', { reason: 'an enforcer is never changed; make a new one' });
  };
  return {
    async loadPolicy(model: Model) {
      for (const [kind, ...fields] of rows) model.model.get(kind![0]!)!.get(kind!)!.policy.push(fields);
    },
    savePolicy: refuse,
    addPolicy: refuse,
    removePolicy: refuse,
    removeFilteredPolicy: refuse,
  };
}

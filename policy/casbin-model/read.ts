// A user's own Casbin model with its rows, checked as a whole: either everything in it means to stock casbin what it looks like, or it is refused with
// every problem. What comes out is all that casbin is ever told.
import { atomsOf, printMatcher, readMatcher } from './matcher.ts';
import { type FieldSource, readFieldSources } from './request.ts';
import { rowFaults, textFaults } from './rows.ts';
import { effects, readModelText } from './text.ts';

export interface GivenModel {
  readonly model: string;
  readonly request?: Readonly<Record<string, string>> | undefined;
  readonly rows: readonly (readonly string[])[];
}

export interface ReadModel {
  /** Made anew from what was read, for casbin. */
  readonly text: string;
  readonly rows: readonly (readonly string[])[];
  readonly fields: readonly FieldSource[];
  /** For each field: names that are roles where it is asked for one. A caller with such a name is not the role. */
  readonly rolesByField: readonly ReadonlySet<string>[];
  readonly asksClaims: boolean;
}

export interface ModelFault {
  /** JSON pointer within the resource. */
  readonly pointer: string;
  readonly message: string;
}

export function readCasbinModel(given: GivenModel): ReadModel | readonly ModelFault[] {
  const model = readModelText(given.model);
  if (typeof model === 'string') return [{ pointer: '/model', message: `model: ${model}` }];
  const matcher = readMatcher(model.matcher, model);
  if (typeof matcher === 'string') return [{ pointer: '/model', message: `model: ${matcher}` }];
  const fields = readFieldSources(model.request, given.request ?? {});
  const faults = [
    ...textFaults(matcher).map((fault) => ({ pointer: '/model', message: `model: ${fault}` })),
    ...(typeof fields === 'string' ? [{ pointer: '/request', message: `request: ${fields}` }] : []),
    ...rowFaults(given.rows, model, matcher).map(({ row, fault }) => ({
      pointer: `/rows/${row}`,
      message: `row ${row + 1}: ${fault}`,
    })),
  ];
  if (typeof fields === 'string' || faults.length > 0) return faults;
  const definitions = [
    ...['[request_definition]', `r = ${model.request.join(', ')}`],
    ...['[policy_definition]', `p = ${model.columns.join(', ')}`],
    ...(model.roles.size > 0 ? ['[role_definition]'] : []),
    ...[...model.roles].map(([name, width]) => `${name} = ${Array(width).fill('_').join(', ')}`),
    ...['[policy_effect]', `e = ${effects[model.effect]}`],
    ...['[matchers]', `m = ${printMatcher(matcher)}`],
  ];
  const rolesByField = model.request.map((field) => {
    const kinds = atomsOf(matcher).flatMap((atom) => {
      const first = atom.kind === 'call' ? atom.given[0] : undefined;
      return atom.kind === 'call' && first?.kind === 'request' && first.name === field && model.roles.has(atom.name)
        ? [atom.name]
        : [];
    });
    return new Set(given.rows.flatMap(([kind, , role]) => (kinds.includes(kind!) && role !== undefined ? [role] : [])));
  });
  return {
    text: `${definitions.join('\n')}\n`,
    rows: given.rows,
    fields,
    rolesByField,
    asksClaims: fields.some(({ kind }) => kind === 'claim'),
  };
}

// Rows of a Casbin policy that somebody else wrote: each exactly as wide as the model says, its effect one of two words, its patterns such as mean what
// they look like. A row is never cut, padded, dropped or read as something else.
import { atomsOf, type Matcher, type Operand, type pathFunctions } from './matcher.ts';
import type { ModelText } from './text.ts';

export interface RowFault {
  /** Place in the list, from 0. */
  readonly row: number;
  readonly fault: string;
}

/** Stock casbin evaluates each permission row for each request, some 3 to 5 us a row on the event loop. */
export const mostPermissions = 500;
export const mostRoles = 5_000;
/** Casbin stops to follow roles of roles here, without a word. */
const deepestRoles = 10;

/** Everything that is wrong with them. */
export function rowFaults(rows: readonly (readonly string[])[], model: ModelText, matcher: Matcher): RowFault[] {
  const checks = columnChecks(model, matcher);
  const seen = new Map<string, number>();
  const faults = rows.flatMap((row, index): RowFault[] => {
    const fault = rowFault(row, model, checks);
    const key = JSON.stringify(row);
    const before = seen.get(key);
    seen.set(key, index);
    if (fault !== undefined) return [{ row: index, fault }];
    return before === undefined ? [] : [{ row: index, fault: `row ${before + 1} says the same` }];
  });
  if (faults.length > 0) return faults;
  const kinds = rows.map(([kind]) => kind);
  const permissions = kinds.filter((kind) => kind === 'p').length;
  if (permissions === 0) faults.push({ row: 0, fault: 'there is no row of kind p, so nothing could ever be allowed' });
  if (permissions > mostPermissions) {
    const reason = 'casbin evaluates each of them for each request';
    faults.push({
      row: mostPermissions,
      fault: `there are ${permissions} rows of kind p, more than ${mostPermissions}: ${reason}`,
    });
  }
  if (rows.length - permissions > mostRoles)
    faults.push({ row: 0, fault: `there are ${rows.length - permissions} rows of roles, more than ${mostRoles}` });
  return [...faults, ...(faults.length > 0 ? [] : roleFaults(rows, model))];
}

/** Fields of comma-separated rows as in RFC 4180, one row a line; or why a line is none. Never guesses at quotes, brackets or comments. */
export function parseCasbinCsv(text: string): { rows: string[][] } | { line: number; fault: string } {
  const rows: string[][] = [];
  for (const [index, line] of text
    .replace(/\r\n/g, '\n')
    .replace(/^\ufeff/, '')
    .split('\n')
    .entries()) {
    if (line.trim() === '' || line.trimStart().startsWith('#')) continue;
    const fields: string[] = [];
    const pattern = /[ \t]*(?:"((?:[^"]|"")*)"|([^",]*?))[ \t]*(,|$)/gy;
    for (let isOver = false; !isOver; ) {
      const found = pattern.exec(line);
      if (!found) return { line: index + 1, fault: 'its quotes are not those of a CSV field' };
      fields.push(found[1]?.replaceAll('""', '"') ?? found[2]!);
      isOver = found[3] === '';
    }
    rows.push(fields);
  }
  return { rows };
}

type Check = (value: string) => string | undefined;

function rowFault(
  row: readonly string[],
  model: ModelText,
  checks: ReadonlyMap<string, readonly Check[]>,
): string | undefined {
  const [kind, ...fields] = row;
  const width = kind === 'p' ? model.columns.length : model.roles.get(kind ?? '');
  if (width === undefined) return `the model has no rows of kind ${JSON.stringify(kind)}`;
  if (fields.length !== width) return `it has ${fields.length} fields after ${kind}; the model has ${width}`;
  for (const [index, value] of fields.entries()) {
    const name = kind === 'p' ? model.columns[index]! : `field ${index + 1}`;
    if (value === '') return `${name} is empty`;
    if (value !== value.trim() || /\p{Cc}/u.test(value))
      return `${name} has white space at its ends or a control character`;
    const fault =
      kind === 'p'
        ? checks
            .get(name)
            ?.map((check) => check(value))
            .find(Boolean)
        : commaFault(value);
    if (fault) return `${name} ${JSON.stringify(value.slice(0, 80))}: ${fault}`;
  }
  return undefined;
}

/** What the values of a column must be, by how the matcher uses it. */
function columnChecks({ columns, effect }: ModelText, matcher: Matcher): Map<string, Check[]> {
  const checks = new Map<string, Check[]>(columns.map((column) => [column, []]));
  checks
    .get('priority')
    ?.push((value) => (/^(0|[1-9]\d{0,8})$/.test(value) ? undefined : 'a priority is a whole number'));
  checks.get('eft')?.push((value) => {
    if (value !== 'allow' && value !== 'deny') return 'it is neither allow nor deny';
    return value === 'deny' && effect === 'allow' ? 'the effect of this model ignores denies' : undefined;
  });
  for (const { name, operand } of callArguments(matcher))
    if (operand.kind === 'row')
      checks.get(operand.name)?.push(name in patternFaults ? patternFaults[name as PathFunction] : commaFault);
  return checks;
}

/** What is wrong with a text that the matcher itself gives to a function. */
export function textFaults(matcher: Matcher): string[] {
  return callArguments(matcher).flatMap(({ name, operand }) => {
    if (operand.kind !== 'text' || !(name in patternFaults)) return [];
    const fault = patternFaults[name as PathFunction](operand.text);
    return fault ? [`"${operand.text}": ${fault}`] : [];
  });
}

function callArguments(matcher: Matcher): { name: string; operand: Operand }[] {
  return atomsOf(matcher).flatMap((atom) =>
    atom.kind === 'call' ? atom.given.slice(1).map((operand) => ({ name: atom.name, operand })) : [],
  );
}

/** Casbin remembers roles by their names joined with commas. */
function commaFault(value: string): string | undefined {
  return value.includes(',') ? 'casbin joins the names of roles with commas; use none in them' : undefined;
}

type PathFunction = (typeof pathFunctions)[number];
const literalSegment = '[A-Za-z0-9_~-]+';
const patternFaults: Readonly<Record<PathFunction, Check>> = {
  keyMatch: (value) =>
    value === '*' || !value.includes('*') || (value.endsWith('/*') && value.indexOf('*') === value.length - 1)
      ? undefined
      : 'a star ends the pattern as /*; anywhere else keyMatch ignores what follows it, or part of a segment',
  keyMatch2: segmentsOf(':[A-Za-z_]\\w*', 'literal segments, :name, and * as the last'),
  keyMatch3: segmentsOf('\\{[A-Za-z_]\\w*\\}', 'literal segments, {name}, and * as the last'),
};

/** Of these casbin makes regular expressions: segments that mean nothing there, so that nothing is a wildcard by accident and nothing hangs. */
function segmentsOf(parameter: string, what: string): Check {
  const pattern = new RegExp(`^(?:/|(?:/(?:${literalSegment}|${parameter}))*(?:/|/\\*)?)$`);
  return (value) =>
    value !== '' && value.length <= 1_024 && pattern.test(value) ? undefined : `only ${what} mean what they look like`;
}

/** Roles of roles: no cycle, and no chain that casbin would cut. */
function roleFaults(rows: readonly (readonly string[])[], { roles }: ModelText): RowFault[] {
  for (const kind of roles.keys()) {
    const own = rows.flatMap((row, index) => (row[0] === kind ? [{ row, index }] : []));
    const holders = new Map<string, { to: string; index: number }[]>();
    const waiting = new Map<string, number>();
    const nodeOf = (name: string, domain: string | undefined): string => JSON.stringify([name, domain]);
    for (const { row, index } of own) {
      const [from, to] = [nodeOf(row[1]!, row[3]), nodeOf(row[2]!, row[3])];
      holders.set(from, [...(holders.get(from) ?? []), { to, index }]);
      waiting.set(to, (waiting.get(to) ?? 0) + 1);
      if (!waiting.has(from)) waiting.set(from, 0);
    }
    const depths = new Map<string, number>();
    const ready = [...waiting].flatMap(([node, count]) => (count === 0 ? [node] : []));
    let left = waiting.size;
    for (let node = ready.pop(); node !== undefined; node = ready.pop()) {
      left--;
      const depth = (depths.get(node) ?? 0) + 1;
      for (const { to, index } of holders.get(node) ?? []) {
        if (depth > deepestRoles)
          return [{ row: index, fault: `its chain of roles is longer than ${deepestRoles}, where casbin stops` }];
        depths.set(to, Math.max(depths.get(to) ?? 0, depth));
        waiting.set(to, waiting.get(to)! - 1);
        if (waiting.get(to) === 0) ready.push(to);
      }
    }
    if (left === 0) continue;
    const inCycle = own.find(
      ({ row }) => (waiting.get(nodeOf(row[1]!, row[3])) ?? 0) > 0 && (waiting.get(nodeOf(row[2]!, row[3])) ?? 0) > 0,
    );
    return [{ row: inCycle?.index ?? 0, fault: 'its role contains itself' }];
  }
  return [];
}

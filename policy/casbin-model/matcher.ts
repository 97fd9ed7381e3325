// A matcher is data until it has been read here: comparisons of request fields, row columns and texts, roles, and the path functions that cannot hang.
// Everything else (eval, regular expressions, attributes of attributes, unknown names, numbers, JavaScript) is refused, so nothing is undefined in it.

export type Matcher =
  | { readonly kind: 'or' | 'and'; readonly parts: readonly Matcher[] }
  | { readonly kind: 'not'; readonly part: Matcher }
  | { readonly kind: 'compare'; readonly equal: boolean; readonly left: Operand; readonly right: Operand }
  | { readonly kind: 'call'; readonly name: string; readonly given: readonly Operand[] };
export type Operand =
  | { readonly kind: 'request' | 'row'; readonly name: string }
  | { readonly kind: 'text'; readonly text: string };

export interface Names {
  readonly request: readonly string[];
  readonly columns: readonly string[];
  readonly roles: ReadonlyMap<string, 2 | 3>;
}

/** Path functions whose patterns `rows.ts` holds to forms that mean what they look like. */
export const pathFunctions = ['keyMatch', 'keyMatch2', 'keyMatch3'] as const;
const unsafe: Readonly<Record<string, string>> = {
  eval: 'it runs text as code',
  regexMatch: 'it is not anchored, and one pattern can hold the proxy for minutes; use keyMatch2',
  globMatch: 'its stars do not match names that begin with a dot; use keyMatch2',
  keyMatch4: 'it compares every parameter with every other; use keyMatch2',
  keyMatch5: 'paths have no query here; use keyMatch3',
  ipMatch: 'it throws on what is no address',
};
const deepest = 32;

/** The matcher, or (as a string) why it is refused. */
export function readMatcher(text: string, names: Names): Matcher | string {
  if (text.length > 4_096) return 'the matcher is longer than 4096 characters';
  try {
    const tokens = tokensOf(text);
    const reading: Reading = { tokens, at: 0, names, depth: 0 };
    const matcher = readEither(reading);
    if (reading.at < tokens.length) refuse(`${tokens[reading.at]} is not expected`);
    checkWhole(matcher, names);
    return matcher;
  } catch (thrown) {
    if (thrown instanceof Refusal) return `the matcher is refused: ${thrown.message}`;
    throw thrown;
  }
}

/** As casbin reads it: one spelling, every group in brackets, and no space that some version of it gives a meaning. */
export function printMatcher(matcher: Matcher): string {
  switch (matcher.kind) {
    case 'or':
      return matcher.parts.map((part) => `(${printMatcher(part)})`).join('||');
    case 'and':
      return matcher.parts.map((part) => `(${printMatcher(part)})`).join('&&');
    case 'not':
      return `!(${printMatcher(matcher.part)})`;
    case 'compare':
      return `${printOperand(matcher.left)}${matcher.equal ? '==' : '!='}${printOperand(matcher.right)}`;
    case 'call':
      return `${matcher.name}(${matcher.given.map(printOperand).join(',')})`;
  }
}

export type Atom = Extract<Matcher, { readonly kind: 'compare' } | { readonly kind: 'call' }>;

/** Every comparison and call in it. */
export function atomsOf(matcher: Matcher): Atom[] {
  if ('parts' in matcher) return matcher.parts.flatMap(atomsOf);
  return 'part' in matcher ? atomsOf(matcher.part) : [matcher];
}

function operandsOf(atom: Atom): readonly Operand[] {
  return atom.kind === 'call' ? atom.given : [atom.left, atom.right];
}

class Refusal extends Error {}
function refuse(reason: string): never {
  throw new Refusal(reason);
}

interface Reading {
  readonly tokens: readonly string[];
  at: number;
  readonly names: Names;
  depth: number;
}

function tokensOf(text: string): string[] {
  const tokens: string[] = [];
  const pattern = /\s*(?:(&&|\|\||==|!=|[!(),]|[A-Za-z_][\w]*(?:\.[\w.]+)?|"[^"]*"|'[^']*')|(\S))/gy;
  const trimmed = text.trimEnd();
  while (pattern.lastIndex < trimmed.length) {
    const [, token, other] = pattern.exec(trimmed) ?? [];
    if (token === undefined) refuse(`${other ?? 'its end'} is not part of any matcher here`);
    tokens.push(token);
  }
  return tokens;
}

function readEither(reading: Reading): Matcher {
  return readList(reading, 'or', '||', () => readList(reading, 'and', '&&', () => readOne(reading)));
}

function readList(reading: Reading, kind: 'or' | 'and', word: string, read: () => Matcher): Matcher {
  const parts = [read()];
  while (reading.tokens[reading.at] === word) {
    reading.at++;
    parts.push(read());
  }
  return parts.length === 1 ? parts[0]! : { kind, parts };
}

function readOne(reading: Reading): Matcher {
  const token = reading.tokens[reading.at];
  if (token === undefined) refuse('it ends too early');
  if (++reading.depth > deepest) refuse(`it is nested more than ${deepest} deep`);
  try {
    if (token === '!') {
      reading.at++;
      return { kind: 'not', part: readOne(reading) };
    }
    if (token === '(') {
      reading.at++;
      const inner = readEither(reading);
      expectToken(reading, ')');
      return inner;
    }
    return reading.tokens[reading.at + 1] === '(' ? readCall(reading) : readComparison(reading);
  } finally {
    reading.depth--;
  }
}

function readComparison(reading: Reading): Matcher {
  const left = readOperand(reading);
  const word = reading.tokens[reading.at];
  if (word !== '==' && word !== '!=') refuse(`${printOperand(left)} is not compared with anything by == or !=`);
  reading.at++;
  const right = readOperand(reading);
  const kinds = new Set([left.kind, right.kind]);
  if (kinds.size === 1) refuse(`${printOperand(left)} and ${printOperand(right)} are both of the ${left.kind}`);
  return { kind: 'compare', equal: word === '==', left, right };
}

function readCall(reading: Reading): Matcher {
  const { tokens, names } = reading;
  const name = tokens[reading.at]!;
  const width = names.roles.get(name);
  const isPath = (pathFunctions as readonly string[]).includes(name);
  if (!width && !isPath) {
    const known = [...pathFunctions, ...names.roles.keys()].join(', ');
    refuse(`${name} is not allowed${unsafe[name] ? `: ${unsafe[name]}` : ''} (allowed: ${known})`);
  }
  reading.at += 2;
  const given = [readOperand(reading)];
  while (tokens[reading.at] === ',') {
    reading.at++;
    given.push(readOperand(reading));
  }
  expectToken(reading, ')');
  if (given.length !== (width ?? 2)) refuse(`${name} takes ${width ?? 2} values, not ${given.length}`);
  const [first, ...others] = given;
  if (first!.kind !== 'request') refuse(`${name} begins with a field of the request`);
  // A domain that comes from a request is kept for ever by stock casbin: callers could fill its memory with made-up ones.
  for (const operand of others)
    if (operand.kind === 'request')
      refuse(
        `${name}(..., r.${operand.name}): write ${name}(..., p.${operand.name}) && r.${operand.name} == p.${operand.name}`,
      );
  return { kind: 'call', name, given };
}

function readOperand(reading: Reading): Operand {
  const token = reading.tokens[reading.at++];
  if (token === undefined) refuse('it ends too early');
  if (/^["']/.test(token)) {
    const text = token.slice(1, -1);
    if (!/^[A-Za-z0-9_./:@*+-]+$/.test(text)) refuse(`the text ${token} has a character that casbin may misread`);
    return { kind: 'text', text };
  }
  const [, kind, name] = /^([rp])\.([A-Za-z][A-Za-z0-9_]*)$/.exec(token) ?? [];
  if (kind === undefined || name === undefined) refuse(`${token} is neither r.FIELD, p.COLUMN nor a text`);
  const known = kind === 'r' ? reading.names.request : reading.names.columns;
  if (!known.includes(name)) refuse(`there is no ${kind}.${name}`);
  if (kind === 'p' && (name === 'eft' || name === 'priority')) refuse(`p.${name} is for the effect alone`);
  return { kind: kind === 'r' ? 'request' : 'row', name };
}

function printOperand(operand: Operand): string {
  if (operand.kind === 'text') return `"${operand.text}"`;
  return `${operand.kind === 'request' ? 'r' : 'p'}.${operand.name}`;
}

function expectToken(reading: Reading, token: string): void {
  const found = reading.tokens[reading.at++];
  if (found !== token) refuse(`${token} is expected, not ${found ?? 'the end'}`);
}

/** Every column is asked about, and there is no way to match that asks for nothing. */
function checkWhole(matcher: Matcher, { columns }: Names): void {
  const asked = new Set(
    atomsOf(matcher)
      .flatMap(operandsOf)
      .flatMap((operand) => (operand.kind === 'row' ? operand.name : [])),
  );
  if (asked.size === 0) refuse('it never asks about the rows (p.), so no row would count');
  const forgotten = columns.find((column) => column !== 'eft' && column !== 'priority' && !asked.has(column));
  if (forgotten) refuse(`it never asks about p.${forgotten}`);
  if (holdsFreely(matcher, true))
    refuse('it can hold by what is not so alone; every way to match must ask for something that is');
}

/** Whether it can be `wanted` without any comparison or call that is true. */
function holdsFreely(matcher: Matcher, wanted: boolean): boolean {
  switch (matcher.kind) {
    case 'not':
      return holdsFreely(matcher.part, !wanted);
    case 'or':
    case 'and':
      return (matcher.kind === 'and') === wanted
        ? matcher.parts.every((part) => holdsFreely(part, wanted))
        : matcher.parts.some((part) => holdsFreely(part, wanted));
    case 'compare':
      return matcher.equal !== wanted;
    case 'call':
      return !wanted;
  }
}

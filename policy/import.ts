// Casbin rows that were exported from here, as rules again. A row is taken only when the rule that was read from it makes exactly that row once
// more; anything else (a row of another hand, one cut short, another model) is refused with its line and the reason, never half understood.
import type { PolicyRule, PolicySet } from '#wire';
import { fail } from './errors.ts';
import { casbinRowsOf, permissionColumns, refusedToken, roleColumns } from './rows.ts';
import { formatAddress, readTimes } from './span.ts';

/** The rules and groups of the rows; claims are believed only with a JwtIssuer, which rows do not hold. Throws `POLICY_INVALID`. */
export function importRows(rows: readonly (readonly string[])[]): Pick<PolicySet, 'rules' | 'groups'> {
  const groups: Record<string, string[]> = Object.create(null) as Record<string, string[]>;
  const byRule = new Map<string, { row: readonly string[]; line: number }[]>();
  for (const [index, row] of rows.entries()) {
    const line = index + 1;
    const [kind, first = '', second = ''] = row;
    const width =
      kind === 'p' ? permissionColumns : kind === 'g' ? roleColumns : refuse(line, `there are no rows of kind ${kind}`);
    if (row.length !== width) refuse(line, `it has ${row.length - 1} fields; ours have ${width - 1}`);
    if (kind === 'g') {
      if (!second.startsWith('group:')) refuse(line, 'its role is not a group');
      groups[second.slice(6)] = [...(groups[second.slice(6)] ?? []), first];
    } else byRule.set(first, [...(byRule.get(first) ?? []), { row, line }]);
  }
  byRule.delete('postern/nothing');
  // The rows for bad tokens come out of the others again.
  const rules = [...byRule].map(([name, own]) => {
    const plainRows = own.filter(({ row }) => row[8] !== refusedToken);
    return ruleOf(name, plainRows.length > 0 ? plainRows : own);
  });
  for (const text of rules.flatMap((rule) => rule.from)) if (text.startsWith('group:')) groups[text.slice(6)] ??= [];
  const set = { revision: 0, rules, groups: { ...groups } };
  assertSame(rows, casbinRowsOf(set));
  return { rules, groups: set.groups };
}

function assertSame(given: readonly (readonly string[])[], made: readonly (readonly string[])[]): void {
  const left = new Map<string, number>();
  for (const row of made) left.set(JSON.stringify(row), (left.get(JSON.stringify(row)) ?? 0) + 1);
  for (const [index, row] of given.entries()) {
    const key = JSON.stringify(row);
    const count = left.get(key) ?? 0;
    if (count === 0) refuse(index + 1, `the rule ${row[1]} as it was read would not make this row`);
    left.set(key, count - 1);
  }
  const missing = [...left].find(([, count]) => count > 0)?.[0];
  if (missing)
    throw fail('POLICY_INVALID', {
      reason: `a row is missing: ${(JSON.parse(missing) as string[]).slice(0, 3).join(', ')}`,
    });
}

function ruleOf(name: string, own: readonly { readonly row: readonly string[]; readonly line: number }[]): PolicyRule {
  const slash = name.lastIndexOf('/');
  const { row, line } = own[0]!;
  if (slash < 1) refuse(line, `${name} is not policy/rule`);
  const [, , , , obj, act, path, port, attrs, eft] = row as unknown as readonly [string, ...string[]] &
    Record<number, string>;
  if (eft !== 'allow' && eft !== 'deny') refuse(line, `${eft} is neither allow nor deny`);
  const effect = eft as 'allow' | 'deny';
  const from = own.flatMap(({ row: [, , role = '', sub = ''] }) => (role === '*' ? idsOf(sub, line) : [role]));
  const methods = listOf(act!, anyMethod, line)?.map(plain);
  const paths = listOf(path!, anyPath, line)?.map(templateOf);
  const ports = listOf(port!, anyPort, line)
    ?.filter((text) => text !== '-')
    .map(Number);
  const when = conditionsOf(attrs!, line);
  return {
    ...{
      policy: name.slice(0, slash),
      id: name.slice(slash + 1),
      effect,
      to: idsOf(obj!, line),
      from: [...new Set(from)],
    },
    ...(methods ? { methods } : {}),
    ...(paths ? { paths } : {}),
    ...(ports ? { ports } : {}),
    ...(when ? { when } : {}),
  };
}

const anyMethod = '^[\\s\\S]+$';
const anyPath = '^/[\\s\\S]*$';
const anyPort = '^(?:[0-9]+|-)$';
const anyAttributes = '^[\\s\\S]*$';
const anyId = '^spiffe://[^/]+/[\\s\\S]+$';
const belowIt = '(?:/[\\s\\S]*)?';

/** The alternatives of `^(?:a|b)$`; `undefined` for the pattern of anything. */
function listOf(pattern: string, any: string, line: number): string[] | undefined {
  if (pattern === any) return undefined;
  const body =
    /^\^\(\?:([\s\S]*)\)\$$/.exec(pattern)?.[1] ?? refuse(line, `${pattern.slice(0, 60)} is not a pattern of ours`);
  return alternatives(body);
}

/** Split at bars that are in no bracket; literals have neither. */
function alternatives(body: string): string[] {
  const parts = [''];
  let depth = 0;
  for (const character of body) {
    if (character === '(') depth++;
    if (character === ')') depth--;
    if (character === '|' && depth === 0) parts.push('');
    else parts[parts.length - 1] += character;
  }
  return parts;
}

function idsOf(pattern: string, line: number): string[] {
  return (listOf(pattern, anyId, line) ?? ['*']).map((text) => {
    if (text.endsWith(belowIt)) return `${plain(text.slice(0, -belowIt.length))}/**`;
    return text.endsWith('/[\\s\\S]+') ? `${plain(text.slice(0, -8))}/**` : plain(text);
  });
}

function templateOf(text: string): string {
  if (text === '/[\\s\\S]*') return '/**';
  const rest = text.endsWith(belowIt);
  const steps = (rest ? text.slice(0, -belowIt.length) : text).split('/[^/]+').map(plain);
  return `${steps.join('/*')}${rest ? '/**' : ''}`;
}

function conditionsOf(pattern: string, line: number): PolicyRule['when'] | undefined {
  if (pattern === anyAttributes) return undefined;
  const others = '(?:[^\\n]*\\n)*';
  if (!pattern.startsWith(`^\\n${others}`) || !pattern.endsWith(`${others}$`))
    refuse(line, 'its attributes are not a pattern of ours');
  const parts = pattern
    .slice(3, -1)
    .split(others)
    .filter((part) => part !== '');
  return parts.map((part) => {
    const equals = part.indexOf('=');
    const key = plain(part.slice(0, equals)).replace(/^member:/, 'header:');
    const body = part.slice(equals + 1, -2);
    if (key === 'source:address') return { key, in: alternatives(body.slice(3, -1)).flatMap(blockOf) };
    if (key === 'time:utc') return { key, in: timesOf(alternatives(body.slice(3, -1))) };
    const listed = /\(\?:((?:(?!\(\?:|\[\^)[\s\S])*)\)\\x1f/.exec(body)?.[1];
    if (listed === undefined) return refuse(line, `${key} has no list of ours`);
    return { key, in: alternatives(listed).map((value) => percentDecoded(plain(value))) };
  });
}

function blockOf(pattern: string): string[] {
  const bits = /^([01]{0,128})\[01\]\*$/.exec(pattern)?.[1];
  if (bits === undefined) return [];
  const start = BigInt(`0b${bits.padEnd(128, '0')}`);
  const isV4 = bits.length >= 96 && start >> 32n === 0xffffn;
  return [`${formatAddress(start)}/${isV4 ? bits.length - 96 : bits.length}`];
}

/** Minutes of the week as times of single days; whatever was written otherwise makes other rows, and is refused by the comparison. */
function timesOf(patterns: readonly string[]): string[] {
  const pattern = new RegExp(`^(?:${patterns.filter((text) => /^[0-9[\]-]+$/.test(text) && text !== '-').join('|')})$`);
  const days = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];
  const clock = (minute: number): string =>
    `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`;
  return days.flatMap((day, at) => {
    const found: string[] = [];
    let start = -1;
    for (let minute = 0; minute <= 1_440; minute++) {
      const isIn = minute < 1_440 && pattern.test(String(at * 1_440 + minute).padStart(5, '0'));
      if (isIn && start < 0) start = minute;
      if (isIn || start < 0) continue;
      const text = `${day} ${clock(start)}-${clock(minute)}`;
      if (typeof readTimes(text) !== 'string') found.push(text);
      start = -1;
    }
    return found;
  });
}

/** The text that a generated literal stands for. */
function plain(pattern: string): string {
  return pattern
    .replace(/\\x([0-9a-f]{2})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)))
    .replaceAll('\\.', '.');
}

function percentDecoded(text: string): string {
  return text.replace(/%([0-9A-F]{2})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
}

function refuse(line: number, reason: string): never {
  throw fail('POLICY_INVALID', { reason: `row ${line}: ${reason}` });
}

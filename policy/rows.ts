// The same rules as Casbin rows, and a question as a Casbin request: what stock Casbin, in any language, answers like our program does.
// Patterns are generated, anchored, escaped and linear (RE2 syntax); no text that an operator wrote is ever a pattern or an expression.
import type { PolicySet } from '#wire';
import { type Condition, readConditionKey, readings, trimmed } from './condition.ts';
import type { Question } from './program.ts';
import { asksClaims, type ReadRule, readRules } from './rule.ts';
import { addressPatterns, addressText, minutePatterns, timeText } from './span-rows.ts';
import type { Template } from './template.ts';

/** `p, rule, role, sub, obj, act, path, port, attrs, eft` and `g, member, role`: as policy/model.conf declares them. */
export const permissionColumns = 10;
export const roleColumns = 3;

/** Rows of the enforced rules; shadow rules are never enforced, so they are not there. Throws `POLICY_INVALID`. */
export function casbinRows(set: PolicySet): string[][] {
  return rowsFrom(readRules(set), set);
}

/** The same of rules that were read from rows, which do not say whose tokens claims are believed from. */
export function casbinRowsOf(set: PolicySet): string[][] {
  return rowsFrom(readRules(set, { hasIssuer: true }), set);
}

function rowsFrom(all: readonly ReadRule[], set: PolicySet): string[][] {
  // A rule for an empty group of destinations is about nothing; an empty alternation would be about the empty text.
  const rules = all.filter((rule) => !rule.shadow && rule.to.length > 0);
  const named = new Set(rules.flatMap((rule) => rule.from.filter((text) => text.startsWith('group:'))));
  const groups = new Map(Object.entries(set.groups));
  const roles = [...named].flatMap((role) =>
    groups
      .get(role.slice(6))!
      .filter(isExact)
      .map((member) => ['g', member, role]),
  );
  return [sentinel, ...rules.flatMap((rule) => rowsOf(rule, groups)), ...roles];
}

/** Keys that any enforced or shadow rule asks about, in the order in which requests carry them in `attrs`. */
export function keysAsked(set: PolicySet): string[] {
  const keys = new Set(set.rules.flatMap((rule) => (rule.when ?? []).map((condition) => condition.key)));
  return [...keys].sort(byOrder);
}

/** `sub, obj, act, path, port, attrs`. */
export function casbinRequest(question: Question, keys: readonly string[]): string[] {
  const { from, to, method, path, port } = question;
  return [from, to, method, path, port === undefined ? '-' : String(port), attributesOf(question, keys)];
}

/** Rows as Casbin's CSV. No field of ours holds a comma, a quote, white space or an unbalanced bracket; one that did would be quoted. */
export function formatCsv(rows: readonly (readonly string[])[]): string {
  const field = (text: string): string =>
    text === '' || /[",#\s]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  return rows.map((row) => `${row.map(field).join(', ')}\n`).join('');
}

/** Matches no request, so that an empty policy is a policy all the same: without a row some matchers allow everything. */
const sentinel = ['p', 'postern/nothing', '*', '^$', '^$', '^$', '^$', '^$', '^$', 'deny'];

const anyId = '^spiffe://[^/]+/[\\s\\S]+$';
const anyMethod = '^[\\s\\S]+$';
const anyPath = '^/[\\s\\S]*$';
const anyPort = '^(?:[0-9]+|-)$';
export const refusedToken = '^\\n(?:[^\\n]*\\n)*jwt:token=refused\\n(?:[^\\n]*\\n)*$';
const anyAttributes = '^[\\s\\S]*$';

function rowsOf(rule: ReadRule, groups: ReadonlyMap<string, readonly string[]>): string[][] {
  const direct = rule.from.filter((text) => !text.startsWith('group:'));
  const named = [...new Set(rule.from.filter((text) => text.startsWith('group:')))];
  // A group's exact members are roles (`g`); what in a group is a prefix or `*` no role can say, so it stands beside the rule's own sources.
  const wide = named.flatMap((group) => groups.get(group.slice(6))!.filter((member) => !isExact(member)));
  const rest = [
    idsPattern(rule.to),
    rule.methods ? oneOf(rule.methods.map(literal)) : anyMethod,
    rule.templates ? oneOf(rule.templates.map(templatePattern)) : anyPath,
    portPattern(rule),
    attributesPattern(rule),
    rule.deny ? 'deny' : 'allow',
  ];
  const own = [...new Set([...direct, ...wide])];
  const rowsWith = (columns: readonly string[]): string[][] => [
    ...(own.length > 0 ? [['p', rule.name, '*', idsPattern(own), ...columns]] : []),
    ...named.map((role) => ['p', rule.name, role, anyId, ...columns]),
  ];
  if (!asksClaims(rule)) return rowsWith(rest);
  // A bad token is refused wherever a rule asks about one, whatever else the rule asks.
  return [...rowsWith(rest), ...rowsWith([...rest.slice(0, 3), anyPort, refusedToken, 'deny'])];
}

function isExact(source: string): boolean {
  return source !== '*' && !source.endsWith('/**');
}

function idsPattern(sources: readonly string[]): string {
  if (sources.includes('*')) return anyId;
  return oneOf(
    sources.map((source) => {
      if (isExact(source)) return literal(source);
      const base = source.slice(0, -3);
      return base.includes('/', 9) ? `${literal(base)}(?:/[\\s\\S]*)?` : `${literal(base)}/[\\s\\S]+`;
    }),
  );
}

function templatePattern({ steps, rest }: Template): string {
  const fixed = steps.map((step) => ('literal' in step ? `/${literal(step.literal)}` : '/[^/]+')).join('');
  if (!rest) return fixed;
  return fixed === '' ? '/[\\s\\S]*' : `${fixed}(?:/[\\s\\S]*)?`;
}

/** An unknown port (`-`) is denied by a deny with ports and not allowed by an allow with ports. */
function portPattern({ ports, deny }: ReadRule): string {
  if (!ports) return anyPort;
  return oneOf([...ports].map(String).concat(deny ? ['-'] : []));
}

/**
 * `attrs` is a line feed, then for each key that a rule asks about, in order (source, headers, claims, time): `source:address=` with 128 binary digits, `-` when it
 * is not known or `later` when the other end decides; `header:NAME=` and `jwt:claims.NAME=`, only when the request has them, with the values each between \x1f; `jwt:token=refused` for a bad token;
 * `time:utc=` with the minute of the week in five digits, or `-`; each ended by a line feed. After all headers, `member:NAME=` in the same way with the values and, beside
 * each value that is a comma-separated list, its members. Percent signs and control characters in values are percent-encoded, so that no value can look like a line.
 */
function attributesOf(question: Question, keys: readonly string[]): string {
  const line = (key: string, values: readonly string[]): string =>
    values.length > 0 ? `${key}=\x1f${values.map((value) => `${encode(value)}\x1f`).join('')}\n` : '';
  const lines = keys.flatMap((key): { order: string; text: string }[] => {
    const read = readConditionKey(key);
    if ('fault' in read) return [];
    const { kind, name } = read;
    if (kind === 'address') return [{ order: orderOf(key), text: `${key}=${addressText(question.address)}\n` }];
    if (kind === 'time') return [{ order: orderOf(key), text: `${key}=${timeText(question.time)}\n` }];
    if (kind === 'claim') return [{ order: orderOf(key), text: line(key, question.claims?.(name) ?? []) }];
    const given = question.headers(name);
    return [
      { order: orderOf(key), text: line(key, given.map(trimmed)) },
      { order: orderOf(`member:${name}`), text: line(`member:${name}`, readings(given)) },
    ];
  });
  if (question.token === 'refused' && keys.some((key) => key.startsWith('jwt:'))) {
    lines.push({ order: orderOf('jwt:token'), text: 'jwt:token=refused\n' });
  }
  return `\n${lines
    .sort((a, b) => (a.order < b.order ? -1 : 1))
    .map(({ text }) => text)
    .join('')}`;
}

/** A deny looks for one listed value among the members, an allow wants every value listed. */
function attributesPattern({ conditions, deny }: ReadRule): string {
  if (!conditions) return anyAttributes;
  const lines = conditions.map((condition) => linePattern(condition, deny));
  const others = '(?:[^\\n]*\\n)*';
  const sorted = lines.sort((a, b) => (a.order < b.order ? -1 : 1)).map(({ pattern }) => `${others}${pattern}\\n`);
  return `^\\n${sorted.join('')}${others}$`;
}

function linePattern(condition: Condition, deny: boolean): { order: string; pattern: string } {
  const { key } = condition;
  const line = (name: string, pattern: string) => ({ order: orderOf(name), pattern: `${literal(name)}=${pattern}` });
  // What is not known a deny matches and an allow does not; what the other end decides, the other way round.
  if ('spans' in condition) {
    const { spans, kind } = condition;
    if (kind === 'time') return line(key, `(?:${[...minutePatterns(spans), ...(deny ? ['-'] : [])].join('|')})`);
    return line(key, `(?:${[...addressPatterns(spans), deny ? '-' : 'later'].join('|')})`);
  }
  const listed = `(?:${[...condition.values].map((value) => literal(encode(value))).join('|')})\\x1f`;
  const any = '(?:[^\\x1f\\n]*\\x1f)*';
  if (condition.kind === 'claim') return line(key, `\\x1f${any}${listed}${any}`);
  return deny ? line(`member:${condition.name}`, `\\x1f${any}${listed}${any}`) : line(key, `\\x1f(?:${listed})+`);
}

/** Source, headers, claims, members, time: in this order, and by name within each. */
function orderOf(key: string): string {
  const kinds = ['source:', 'header:', 'jwt:', 'member:', 'time:'];
  return `${kinds.findIndex((kind) => key.startsWith(kind))}${key}`;
}

function byOrder(a: string, b: string): number {
  return orderOf(a) < orderOf(b) ? -1 : 1;
}

function oneOf(patterns: readonly string[]): string {
  return `^(?:${[...new Set(patterns)].join('|')})$`;
}

/** The text and nothing else. Hex for whatever could mean something to any regular expression, CSV parser or bracket counter. */
function literal(text: string): string {
  return text.replace(/[^A-Za-z0-9_/:-]/g, (character) => {
    if (character === '.') return '\\.';
    return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
}

function encode(value: string): string {
  return value.replace(/[^ -$&-~\x80-\uffff]/g, (character) => {
    return `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
  });
}

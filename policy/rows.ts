// The same rules as Casbin rows, and a question as a Casbin request: what stock Casbin, in any language, answers like our program does.
// Patterns are generated, anchored, escaped and linear (RE2 syntax); no text that an operator wrote is ever a pattern or an expression.
import type { PolicySet } from '#wire';
import { type HeaderCondition, type Headers, readings, trimmed } from './condition.ts';
import type { Question } from './program.ts';
import { type ReadRule, readRules } from './rule.ts';
import type { Template } from './template.ts';

/** `p, rule, role, sub, obj, act, path, port, attrs, eft` and `g, member, role`: as policy/model.conf declares them. */
export const permissionColumns = 10;
export const roleColumns = 3;

/** Rows of the enforced rules; shadow rules are never enforced, so they are not there. Throws `POLICY_INVALID`. */
export function casbinRows(set: PolicySet): string[][] {
  const rules = readRules(set).filter((rule) => !rule.shadow);
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

/** Names of the headers that any enforced or shadow rule asks about, sorted: the ones that requests must carry in `attrs`. */
export function headersAsked(set: PolicySet): string[] {
  const names = set.rules.flatMap((rule) => (rule.when ?? []).map((condition) => condition.key.slice(7)));
  return [...new Set(names)].sort();
}

/** `sub, obj, act, path, port, attrs`. */
export function casbinRequest(question: Question, headers: readonly string[]): string[] {
  const { from, to, method, path, port } = question;
  return [from, to, method, path, port === undefined ? '-' : String(port), attributesOf(question.headers, headers)];
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
const anyAttributes = '^[\\s\\S]*$';

function rowsOf(rule: ReadRule, groups: ReadonlyMap<string, readonly string[]>): string[][] {
  // A rule for an empty group of destinations is about nothing; an empty alternation would be about the empty text.
  if (rule.to.length === 0) return [];
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
  return [
    ...(own.length > 0 ? [['p', rule.name, '*', idsPattern(own), ...rest]] : []),
    ...named.map((role) => ['p', rule.name, role, anyId, ...rest]),
  ];
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
 * `attrs` is a line feed, then for each header a rule asks about, in order of name, and only when the request has it:
 * `header:NAME=`, its values each between \x1f, and a line feed; then in the same way `member:NAME=` with the values and, beside each value
 * that is a comma-separated list, its members. Percent signs and control characters in values are percent-encoded, so that no value can look like a line.
 */
function attributesOf(headers: Headers, names: readonly string[]): string {
  const given = names.map((name) => ({ name, values: headers(name) })).filter(({ values }) => values.length > 0);
  const line = (key: string, values: readonly string[]): string =>
    `${key}=\x1f${values.map((value) => `${encode(value)}\x1f`).join('')}\n`;
  return [
    '\n',
    ...given.map(({ name, values }) => line(`header:${name}`, values.map(trimmed))),
    ...given.map(({ name, values }) => line(`member:${name}`, readings(values))),
  ].join('');
}

/** A deny looks for one listed value among the members, an allow wants every value listed. */
function attributesPattern({ conditions, deny }: ReadRule): string {
  if (!conditions) return anyAttributes;
  const byName = (a: HeaderCondition, b: HeaderCondition): number => (a.header < b.header ? -1 : 1);
  const lines = [...conditions].sort(byName).map(({ header, values }) => {
    const listed = `(?:${[...values].map((value) => literal(encode(value))).join('|')})\\x1f`;
    const name = literal(header);
    return deny
      ? `member:${name}=\\x1f(?:[^\\x1f\\n]*\\x1f)*${listed}(?:[^\\x1f\\n]*\\x1f)*\\n`
      : `header:${name}=\\x1f(?:${listed})+\\n`;
  });
  const others = '(?:[^\\n]*\\n)*';
  return `^\\n${lines.map((each) => `${others}${each}`).join('')}${others}$`;
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

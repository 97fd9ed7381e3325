// The text of a Casbin model that somebody else wrote, read strictly: what stock casbin would skip, cut or take for something else is refused here.
// Gives the model's parts; casbin gets a text that is made from them again, so both always mean the same.

export interface ModelText {
  /** Fields of a request, in order. */
  readonly request: readonly string[];
  /** Columns of a row, in order. */
  readonly columns: readonly string[];
  /** Role relations with the number of their columns: `g` 2, or 3 with a domain. */
  readonly roles: ReadonlyMap<string, 2 | 3>;
  readonly effect: Effect;
  readonly matcher: string;
}

/** `allow`: some allow. `deny-wins`: some allow and no deny. `priority`: the first row that matches. */
export type Effect = 'allow' | 'deny-wins' | 'priority';

/** As casbin wants them written. Each denies what nothing matches; the others (`!some(... deny)` alone, subjectPriority) are refused. */
export const effects: Readonly<Record<Effect, string>> = {
  allow: 'some(where (p.eft == allow))',
  'deny-wins': 'some(where (p.eft == allow)) && !some(where (p.eft == deny))',
  priority: 'priority(p.eft) || deny',
};

const sections = ['request_definition', 'policy_definition', 'role_definition', 'policy_effect', 'matchers'];
const required = sections.filter((section) => section !== 'role_definition');
const keys: Readonly<Record<string, RegExp>> = {
  request_definition: /^r$/,
  policy_definition: /^p$/,
  role_definition: /^g[2-9]?$/,
  policy_effect: /^e$/,
  matchers: /^m$/,
};

/** The parts, or (as a string) why it is not a model that can be enforced. */
export function readModelText(text: string): ModelText | string {
  const entries = readEntries(text);
  if (typeof entries === 'string') return entries;
  const missing = required.find((section) => !entries.has(section));
  if (missing) return `it has no [${missing}]`;
  const one = (section: string): string => [...entries.get(section)!.values()][0]!;
  const request = readNames(one('request_definition'), 'the request definition');
  const columns = readNames(one('policy_definition'), 'the policy definition');
  if (typeof request === 'string') return request;
  if (typeof columns === 'string') return columns;
  const roles = new Map<string, 2 | 3>();
  for (const [key, value] of entries.get('role_definition') ?? []) {
    const width = { '_,_': 2, '_,_,_': 3 }[value.replace(/\s/g, '')] as 2 | 3 | undefined;
    if (!width) return `${key} = ${value}: a role is _, _ or, with a domain, _, _, _`;
    roles.set(key, width);
  }
  const given = one('policy_effect').replace(/\s/g, '');
  const effect = (Object.keys(effects) as Effect[]).find((name) => effects[name].replace(/\s/g, '') === given);
  if (!effect) return `the effect ${one('policy_effect')} is not one that denies what nothing matches: ${known()}`;
  return columnsFault(columns, effect) ?? { request, columns, roles, effect, matcher: one('matchers') };
}

function columnsFault(columns: readonly string[], effect: Effect): string | undefined {
  if (effect !== 'allow' && !columns.includes('eft')) return 'this effect needs a column eft';
  const hasPriority = columns.includes('priority');
  if (effect === 'priority' && !hasPriority) return 'this effect needs a column priority';
  return effect !== 'priority' && hasPriority
    ? 'a column priority needs the effect priority(p.eft) || deny'
    : undefined;
}

function readEntries(text: string): Map<string, Map<string, string>> | string {
  const entries = new Map<string, Map<string, string>>();
  let section: Map<string, string> | undefined;
  let name = '';
  for (const [index, line] of text.replace(/\r\n/g, '\n').split('\n').entries()) {
    const at = `line ${index + 1}`;
    const trimmed = line.trim();
    if (trimmed === '' || trimmed.startsWith('#')) continue;
    if (/[^\t -~]/.test(line)) return `${at}: a model is plain ASCII`;
    const wrong = /[#;\\]/.exec(trimmed)?.[0];
    if (wrong) return `${at}: ${wrong} cuts or joins lines in some Casbins; write comments on lines of their own`;
    const heading = /^\[(\w+)\]$/.exec(trimmed)?.[1];
    if (heading) {
      if (!sections.includes(heading)) return `${at}: there is no section [${heading}]`;
      if (entries.has(heading)) return `${at}: [${heading}] is there twice`;
      section = new Map();
      name = heading;
      entries.set(heading, section);
      continue;
    }
    const [, key, value] = /^(\w+)\s*=\s*(.+)$/.exec(trimmed) ?? [];
    if (!section || key === undefined || value === undefined) return `${at}: it is neither a section nor KEY = VALUE`;
    if (!keys[name]!.test(key)) return `${at}: [${name}] has no ${key}; only the first definition of each is enforced`;
    if (section.has(key)) return `${at}: ${key} is there twice`;
    section.set(key, value);
  }
  const empty = [...entries].find(([, values]) => values.size === 0)?.[0];
  return empty ? `[${empty}] is empty` : entries;
}

function readNames(text: string, what: string): string[] | string {
  const names = text.split(',').map((name) => name.trim());
  const wrong = names.find((name) => !/^[A-Za-z][A-Za-z0-9_]{0,31}$/.test(name));
  if (wrong !== undefined) return `${what}: ${JSON.stringify(wrong)} is not a name`;
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice) return `${what}: ${twice} is there twice`;
  return names.length > 16 ? `${what}: it has more than 16 names` : names;
}

function known(): string {
  return Object.values(effects).join(' | ');
}

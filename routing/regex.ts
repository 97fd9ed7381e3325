// Expressions of virtual services: RE2, so that matching takes time linear in the text whoever wrote them. The only importer of re2js here, which
// is loaded with the first expression: most proxies never see one.

export interface Regex {
  /** Whether the whole text matches. */
  matches(text: string): boolean;
  /** The groups of a text that matches as a whole, itself first; a group that took no part is empty. */
  groups(text: string): readonly string[] | undefined;
  readonly groupCount: number;
}

/** Instructions of a compiled expression: what it may cost a request for each character, at about 80 ns each when its states are too many to remember. */
const largestProgram = 2_000;
/** Their product with the characters of a text: some 30 ms, for the worst that can be written. */
const mostSteps = 400_000;
/** What is longer matches no expression. */
const longestText = 8_192;

/** The expression, or (as a string) why the text is none. */
export function readRegex(text: string): Regex | string {
  try {
    const { RE2JS } = load();
    const compiled = RE2JS.compile(text);
    const size = compiled.programSize();
    if (size > largestProgram) return `it is larger than ${largestProgram} steps`;
    const longest = Math.min(longestText, Math.floor(mostSteps / size));
    return {
      matches: (given) => given.length <= longest && compiled.testExact(given),
      groups(given) {
        if (given.length > longest) return undefined;
        const matcher = compiled.matcher(given);
        if (!matcher.matches()) return undefined;
        return Array.from({ length: compiled.groupCount() + 1 }, (_, group) => matcher.group(group) ?? '');
      },
      groupCount: compiled.groupCount(),
    };
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message.replace(/^error parsing regexp: /, '') : 'it is not an expression';
  }
}

/** Throws for what validation has refused before. */
export function parseRegex(text: string): Regex {
  const regex = readRegex(text);
  if (typeof regex === 'string') throw new TypeError(`${text}: ${regex}`);
  return regex;
}

let loaded: typeof import('re2js') | undefined;
/** Compiling routes is one step without waiting, so the library is too. */
function load(): typeof import('re2js') {
  loaded ??= process.getBuiltinModule('node:module').createRequire(import.meta.url)('re2js') as typeof import('re2js');
  return loaded;
}

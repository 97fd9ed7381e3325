// A universe of requests so small that every one of them can be decided, and rule sets over it: what the exact tools are held to.
import fc from 'fast-check';
import { compileProgram, type Question } from '#policy';
import type { Change } from '#policy/tools';
import type { PolicyRule, PolicySet } from '#wire';

const td = 'spiffe://td';
export const callers = [
  ...[`${td}/a`, `${td}/a/x`, `${td}/b`, `${td}/a/any`, `${td}/zzz`],
  ...['spiffe://other/a', 'spiffe://new.example/any'],
];
export const services = [`${td}/a`, `${td}/b`, `${td}/a/x`, `${td}/a/any`, `${td}/zzz`];
export const methods = ['GET', 'POST', 'OTHER'];
const under = (heads: readonly string[], segments: readonly string[]): string[] =>
  heads.flatMap((head) => segments.map((segment) => `${head}/${segment}`));
const short = under([''], ['a', 'b', 'z']);
const middle = under(short, ['a', 'b', 'z']);
/** Up to three segments, with and without a slash at the end. */
export const paths = [
  '/',
  ...[...short, ...middle, ...under(middle, ['a', 'z'])].flatMap((path) => [path, `${path}/`]),
];
const ports = [undefined, 80, 1];
const values = ['prod', 'dev', 'other'];
const headerStates = [0, 1, 2, 3, 4, 5, 6, 7].map((bits) => values.filter((_, at) => bits & (1 << at)));
/** Every port and header that rules here can tell apart. */
export const states = ports.flatMap((port) => headerStates.map((given) => ({ port, given })));

const few = <T>(from: readonly T[], most = 3): fc.Arbitrary<T[]> =>
  fc.uniqueArray(fc.constantFrom(...from), { minLength: 1, maxLength: most });
const sometimes = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight: 2, arbitrary: fc.constant(undefined) }, { weight: 2, arbitrary });
const sources = [...callers.slice(0, 3), `${td}/**`, `${td}/a/**`, 'spiffe://other/**', '*', 'group:g', 'group:h'];
const templates = [
  '/',
  '/a',
  '/a/',
  '/a/b',
  '/{id}',
  '/*/b',
  '/a/**',
  '/**',
  '/a/{x}/a',
  '/a/b/**',
  '/*/*/',
  '/b/{x}/**',
];
const rule = fc.record({
  effect: fc.constantFrom('allow' as const, 'allow' as const, 'deny' as const),
  shadow: fc.constantFrom(true, undefined, undefined, undefined, undefined, undefined),
  to: few([services[0]!, services[1]!, `${td}/a/**`, '*', 'group:g'], 2),
  from: few(sources),
  methods: sometimes(few(['GET', 'POST'])),
  paths: sometimes(few(templates)),
  ports: sometimes(fc.constant([80])),
  when: sometimes(few(['prod', 'dev'], 2).map((listed) => [{ key: 'header:x', in: listed }])),
});
const rules = fc.array(rule, { minLength: 1, maxLength: 7 });
const members = fc.uniqueArray(fc.constantFrom(callers[1]!, callers[2]!, `${td}/a/**`, '*'), { maxLength: 2 });
const setFrom = (given: readonly object[], groups: PolicySet['groups']): PolicySet => ({
  revision: 1,
  groups,
  rules: given.map((fields, index) => {
    const present = Object.entries(fields).filter(([, value]) => value !== undefined);
    return { policy: 'p', id: `r${index}`, ...Object.fromEntries(present) } as unknown as PolicyRule;
  }),
});
export const smallSets: fc.Arbitrary<PolicySet> = fc
  .record({ rules, g: members, h: members })
  .map(({ rules: given, g, h }) => setFrom(given, { g, h }));
/** Two sets that share most of their rules, as versions of a policy do. */
export const versions: fc.Arbitrary<readonly [PolicySet, PolicySet]> = fc
  .record({
    shared: rules,
    one: fc.array(rule, { maxLength: 2 }),
    other: fc.array(rule, { maxLength: 2 }),
    g: members,
    h: members,
  })
  .map(({ shared, one, other, g, h }) => [
    setFrom([...shared, ...one], { g, h }),
    setFrom([...other, ...shared], { g, h }),
  ]);

export type Call = Pick<Question, 'from' | 'to' | 'method' | 'path'>;

/** The answer in every state, as a bit for each. */
export function answersOf(set: PolicySet): (call: Call) => number {
  const program = compileProgram(set);
  return (call) => {
    let bits = 0;
    for (const [at, { port, given }] of states.entries()) {
      const headers = (name: string): readonly string[] => (name === 'x' ? given : []);
      if (program.decide({ ...call, port, headers }).effect === 'allow') bits += 2 ** at;
    }
    return bits;
  };
}
export const allStates = 2 ** states.length - 1;

export function* calls(part: Partial<Call> = {}): Generator<Call> {
  const either = (given: string | undefined, all: readonly string[]): readonly string[] =>
    given === undefined ? all : [given];
  for (const from of either(part.from, callers))
    for (const to of either(part.to, services))
      for (const method of either(part.method, methods))
        for (const path of either(part.path, paths)) yield { from, to, method, path };
}

/** Whether a described cell holds a call: read from its words alone, the most specific one deciding. */
export function holds(
  { from, to, methods: named, paths: at }: Pick<Change, 'from' | 'to' | 'methods' | 'paths'>,
  call: Call,
): boolean {
  return (
    best(from, (text) => idRank(text, call.from)) &&
    best(to, (text) => idRank(text, call.to)) &&
    (named.include.includes(call.method) || (named.include.includes('*') && !named.except.includes(call.method))) &&
    best(at, (text) => pathRank(text, call.path))
  );
}

/** `rank`: how specifically the text holds it, as comparable text; `undefined` when it does not. */
function best(
  { include, except }: { include: readonly string[]; except: readonly string[] },
  rank: (text: string) => string | undefined,
): boolean {
  const top = (texts: readonly string[]): string =>
    texts
      .flatMap((text) => rank(text) ?? [])
      .sort()
      .at(-1) ?? '';
  return top(include) > top(except);
}

function idRank(text: string, id: string): string | undefined {
  if (text === '*') return '1';
  if (text === id) return '3';
  if (!text.endsWith('/**')) return undefined;
  const base = text.slice(0, -3);
  return id === base || id.startsWith(`${base}/`) ? `2${String(base.length).padStart(4, '0')}` : undefined;
}

function pathRank(template: string, path: string): string | undefined {
  const steps = template.slice(1).split('/');
  const given = path.slice(1).split('/');
  let rank = '';
  for (const [at, step] of steps.entries()) {
    if (step === '**') return `${rank}1`;
    const segment = given[at];
    if (segment === undefined || !(step === segment || (step === '*' && segment !== ''))) {
      return undefined;
    }
    rank += step === segment && step !== '*' ? '3' : '2';
  }
  return steps.length === given.length ? `${rank}4` : undefined;
}

// Generated rule sets and requests, decided by the program and by stock casbin. Shared by the test (50 000 decisions) and by the long run:
//   node test/policy/differential.ts 1000000
import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { compileProgram, createScope, explain, type Question } from '#policy';
import { createCasbin } from '#policy/casbin';
import { parseSpiffeId } from '#spiffe';
import type { PolicyRule, PolicySet } from '#wire';

const td = 'spiffe://td';
const ids = ['a', 'b', 'c', 'a/x', 'a/x/y', 'ab', 'a.b', 'aXb', 'A'].map((name) => `${td}/${name}`);
const sources = [...ids, `${td}/**`, `${td}/a/**`, `${td}/a/x/**`, 'spiffe://other/**', 'spiffe://other/a', '*'];
const groupNames = ['g1', 'g2', 'constructor'];
const templates = [
  ...['/', '/a', '/a/', '/a/b', '/ab', '/a.b', '/a(b', '/a,b', "/a'$&+=:@!", '/%C3%A9', '/{id}', '/*', '/a/*'],
  ...['/a/{id}/c', '/*/b', '/**', '/a/**', '/a/b/**', '/{x}/b/**', '/a/*/', '/.env', '/a/{x}/{y}'],
];
const paths = [
  ...['/', '/a', '/a/', '/a/b', '/a/b/', '/ab', '/aXb', '/a.b', '/a(b', '/a,b', "/a'$&+=:@!", '/%C3%A9', '/x'],
  ...[
    '/x/b',
    '/x/b/c/d',
    '/a/x/c',
    '/a/b/c',
    '/a/*',
    '/A',
    '/.env',
    '/a/.git/config',
    '/a//b',
    '',
    'a',
    '*',
    '/\n',
    '/é',
  ],
];
const values = ['prod', 'dev', '', 'a b', 'p, "x"', 'eval(1)', '50%', 'a\tb', '%09', '^.*$', '(|)'];
const given = [
  ...values,
  ' prod\t',
  'prod,dev',
  'prod , x',
  'x',
  'prod\x1f',
  'x\nheader:x-a=\x1fprod\x1f',
  '\x1f',
  'é',
  ',',
];
const headerNames = ['x-a', 'x-b', 'x.c'];
const methods = ['GET', 'POST', 'G.T', 'M-SEARCH', '$'];

const few = <T>(from: readonly T[], most = 4): fc.Arbitrary<T[]> =>
  fc.uniqueArray(fc.constantFrom(...from), { minLength: 1, maxLength: most });
const sometimes = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 2, arbitrary });
const often = <T>(usual: readonly T[], odd: readonly T[], weight = 8): fc.Arbitrary<T> =>
  fc.oneof({ weight, arbitrary: fc.constantFrom(...usual) }, { weight: 1, arbitrary: fc.constantFrom(...odd) });
const listed = (key: fc.Arbitrary<string>, from: fc.Arbitrary<string>) =>
  fc.record({ key, in: fc.uniqueArray(from, { minLength: 1, maxLength: 4 }) });
const { publicKey } = generateKeyPairSync('ed25519');
const issuers = [
  { issuer: 'i', audiences: ['a'], keys: [publicKey.export({ format: 'jwk' }) as Record<string, unknown>] },
];
const claimNames = ['role', 'a.b', 'https://x/y'];
const blocks = ['10.0.0.0/8', '10.1.0.0/16', '10.1.2.3', 'fd00::/8', '0.0.0.0/0', '::1', '::/0'];
const spans = ['Mon-Fri 08:00-18:00', '22:00-06:00', 'Sat-Mon 17:30-09:15', '00:00-24:00', 'Wed 12:00-12:01'];
const when = fc.uniqueArray(
  fc.oneof(
    {
      weight: 5,
      arbitrary: listed(
        fc.constantFrom(...headerNames).map((n) => `header:${n}`),
        often(values.slice(0, 3), values, 2),
      ),
    },
    {
      weight: 2,
      arbitrary: listed(
        fc.constantFrom(...claimNames).map((n) => `jwt:claims.${n}`),
        often(values.slice(0, 3), values, 2),
      ),
    },
    { weight: 2, arbitrary: listed(fc.constant('source:address'), fc.constantFrom(...blocks)) },
    { weight: 2, arbitrary: listed(fc.constant('time:utc'), fc.constantFrom(...spans)) },
  ),
  {
    selector: (condition) => condition.key,
    minLength: 1,
    maxLength: 3,
  },
);
const rule = fc.record({
  effect: fc.constantFrom('allow' as const, 'allow' as const, 'allow' as const, 'deny' as const),
  shadow: fc.constantFrom(true, undefined, undefined, undefined, undefined, undefined),
  to: few([...ids.slice(0, 2), ...ids.slice(0, 2), `${td}/a/**`, '*', 'group:g1'], 2),
  from: few([...sources, ...groupNames.map((name) => `group:${name}`)]),
  methods: sometimes(few(methods)),
  paths: sometimes(few(templates, 8)),
  ports: sometimes(few([80, 8080, 1, 65_535], 2)),
  when: sometimes(when),
});
export const policySets: fc.Arbitrary<PolicySet> = fc
  .record({
    rules: fc.array(rule, { maxLength: 8 }),
    groups: fc.tuple(...groupNames.map(() => fc.uniqueArray(fc.constantFrom(...sources), { maxLength: 3 }))),
  })
  .map(({ rules, groups }) => ({
    revision: 1,
    rules: rules.map((fields, index): PolicyRule => {
      const present = Object.entries(fields).filter(([, value]) => value !== undefined);
      return { policy: 'p', id: `r${index}`, ...(Object.fromEntries(present) as typeof fields) } as PolicyRule;
    }),
    groups: Object.fromEntries(groupNames.map((name, index) => [name, groups[index]!])),
    issuers,
  }));
export const questions: fc.Arbitrary<Question> = fc
  .record({
    from: often(ids, [`${td}/a/x/y/z`, 'spiffe://other/a', 'spiffe://tdx/a', 'group:g1', '*', '', td, `${td}/`]),
    to: often([...ids.slice(0, 2)], [`${td}/c`, `${td}/a/x`, `${td}/zzz`, '', '*']),
    method: often(['GET', 'POST'], ['GETX', 'get', 'GXT', 'M-SEARCH', '$', '']),
    path: often(paths.slice(0, 12), paths),
    port: fc.constantFrom(undefined, 80, 8080, 1),
    headers: fc.record(
      Object.fromEntries(
        headerNames.map((name) => [name, fc.array(often(values.slice(0, 3), given, 2), { maxLength: 3 })]),
      ),
      { requiredKeys: [] },
    ),
    claims: fc.option(
      fc.record(
        Object.fromEntries(
          claimNames.map((name) => [name, fc.array(often(values.slice(0, 3), given, 2), { maxLength: 2 })]),
        ),
        { requiredKeys: [] },
      ),
      { nil: undefined },
    ),
    token: often([undefined], ['refused' as const], 15),
    address: fc.constantFrom(
      '10.1.2.3',
      '::ffff:10.1.9.9',
      'fd00::7',
      '::1',
      '192.0.2.1',
      'unknown',
      '',
      null,
      undefined,
    ),
    time: fc.option(fc.integer({ min: 0, max: 10_079 }), { nil: undefined, freq: 12 }),
  })
  .map(({ headers, claims, time, ...rest }) => ({
    ...rest,
    ...(claims ? { claims: (name: string) => claims[name] ?? [] } : {}),
    ...(time === undefined ? {} : { time: Date.UTC(2026, 0, 5) + time * 60_000 + 59_999 }),
    headers: (name: string) => headers[name] ?? [],
  }));

export interface Differences {
  readonly decisions: number;
  readonly allowed: number;
  readonly different: readonly string[];
  /** How often a rule with this field decided: a field that never does was not compared. */
  readonly decidedBy: Readonly<Record<string, number>>;
}

/** Decides `count` questions by program, scoped program, explanation and casbin, and says which disagree. */
export async function compare({ count, seed }: { count: number; seed: number }): Promise<Differences> {
  const perSet = 100;
  const different: string[] = [];
  let decisions = 0;
  let allowed = 0;
  const decidedBy: Record<string, number> = {};
  const sets = fc.sample(policySets, { numRuns: Math.ceil(count / perSet), seed });
  for (const [index, set] of sets.entries()) {
    const program = compileProgram(set);
    const narrow = compileProgram(set, { narrowAbove: -1 });
    const casbin = await createCasbin(set);
    for (const question of fc.sample(questions, { numRuns: perSet, seed: seed + index })) {
      const decision = program.decide(question);
      const answers = { casbin: casbin.decide(question), program: decision.effect, ...scoped(set, question) };
      const own = narrow.forPeer(question.from).decide(question);
      const explained = explain(set, question).decision;
      decisions++;
      if (decision.effect === 'allow') allowed++;
      const decider = set.rules.find((rule) => `p/${rule.id}` === decision.rule);
      for (const field of decider ? Object.keys(decider) : []) {
        const name = `${decision.effect} by ${field}`;
        decidedBy[name] = (decidedBy[name] ?? 0) + 1;
      }
      const same = Object.values(answers).every((answer) => answer === decision.effect);
      const alike = [explained, own].every((one) => JSON.stringify(one) === JSON.stringify(decision));
      if (same && alike) continue;
      different.push(JSON.stringify({ answers, decision, explained, own, question, set }));
    }
  }
  return { decisions, allowed, different, decidedBy };
}

/** What the proxies at both ends decide, which hold only what concerns them. */
function scoped(set: PolicySet, question: Question): Record<string, string> {
  const at = (id: string): string | undefined =>
    /^spiffe:\/\/[^/]+\/./.test(id) && !id.endsWith('/')
      ? compileProgram(createScope(set)(parseSpiffeId(id))).decide(question).effect
      : undefined;
  const answers = { outbound: at(question.from), inbound: at(question.to) };
  return Object.fromEntries(Object.entries(answers).flatMap(([name, answer]) => (answer ? [[name, answer]] : [])));
}

if (import.meta.main) {
  const count = Number(process.argv[2] ?? 1_000_000);
  const seed = Number(process.argv[3] ?? 1);
  const step = 20_000;
  let done = 0;
  let allowed = 0;
  for (let round = 0; done < count; round++) {
    const result = await compare({ count: Math.min(step, count - done), seed: seed + round * step });
    if (result.different.length > 0) throw new Error(`${result.different.length} differences:\n${result.different[0]}`);
    done += result.decisions;
    allowed += result.allowed;
  }
  process.stdout.write(`${done} decisions, ${allowed} allowed, no difference from casbin\n`);
}

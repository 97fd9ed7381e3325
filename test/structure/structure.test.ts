// The structure of the code is what docs and house rules say; and each rule is shown a breach, so that none is blind.
import { describe, expect, test } from 'vitest';
import { type Rule, rules } from './rules.ts';
import { doors, parseSource, readSources } from './sources.ts';

const sources = readSources();
const ruleNamed = (name: string): Rule => rules.find((rule) => rule.name === name)!;

describe('the code keeps', () => {
  test.each(rules.map((rule) => [rule.name, rule] as const))('%s', (_, { breaches, why }) => {
    expect(breaches(sources), why).toEqual([]);
  });

  test('its doors: one for each folder, and those behind which something lies that a sidecar must not load', () => {
    const folderDoors = ['#spiffe', '#wire', '#ca', '#policy', '#routing', '#audit', '#proxy', '#control', '#config'];
    const deeper = [
      '#base/*',
      '#audit/log',
      '#proxy/limits',
      '#wire/channel',
      '#policy/casbin',
      '#policy/tools',
      '#config/gateway',
      '#routing/tools',
      '#config/resources',
    ];
    expect(doors.toSorted()).toEqual([...folderDoors, ...deeper].toSorted());
  });

  test('all of it was read', () => {
    expect(sources.length).toBeGreaterThan(60);
    expect(
      sources.find(({ path }) => path === 'audit/record-log.ts')?.imports.map(({ specifier }) => specifier),
    ).toContain('#base/clock');
  });
});

describe('each rule sees its breach', () => {
  const breach: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    layers: { 'policy/a.ts': "// x\nimport { b } from '#audit';\n" },
    'the issuing side of the CA stays out of the proxy': { 'proxy/a.ts': "// x\nconst { b } = await import('#ca');\n" },
    doors: { 'control/a.ts': "// x\nimport type { b } from '../wire/record.ts';\n" },
    'every import leads somewhere': { 'control/a.ts': "// x\nimport { b } from '#nowhere';\n" },
    'inside a folder the own index is not imported': { 'audit/a.ts': "// x\nimport { b } from './index.ts';\n" },
    'no import rings': {
      'audit/a.ts': "// x\nimport { b } from './b.ts';\n",
      'audit/b.ts': "// x\nexport { a } from './a.ts';\n",
    },
    'single importers': { 'proxy/a.ts': "// x\nimport {\n  SignJWT,\n} from 'jose';\n" },
    'only declared dependencies': { 'proxy/a.ts': "// x\nimport pino from 'pino';\n" },
    'nothing outside test/ imports test/': { 'audit/a.ts': "// x\nimport { b } from '../test/helpers/clock.ts';\n" },
    'no export *': { 'audit/a.ts': "// x\nexport * from './b.ts';\n" },
    'the environment is read in config/ only': { 'proxy/a.ts': '// x\nconst a = process.env.HOME;\n' },
    'one file prints': { 'proxy/a.ts': "// x\nconsole.log('x');\n" },
    'one file reads the clock': { 'proxy/a.ts': '// x\nconst now = Date.now();\n' },
    'one file ends the process': { 'control/a.ts': '// x\nprocess.exit(1);\n' },
    'randomness is passed in': { 'proxy/a.ts': '// x\nconst wait = 5 * Math.random();\n' },
    'no code from text': { 'policy/a.ts': '// x\nconst run = new Function(text);\n' },
    'one file opens TLS connections': { 'proxy/a.ts': '// x\nsocket.getPeerCertificate();\n' },
    'a function has a name before it is a property': {
      'proxy/a.ts': '// x\nthis.#a ??= async ({ b = c() }: D) => b;\n',
    },
    'verification is never switched off': { 'wire/a.ts': '// x\nconnect({ rejectUnauthorized: false });\n' },
    'every file opens with a comment': { 'wire/a.ts': 'export const a = 1;\n' },
    'short files': { 'wire/a.ts': `// x\n${'a();\n'.repeat(451)}` },
    'nothing is left for later': { 'wire/a.ts': `// x\n// ${'TO'}${'DO'}: more\n` },
    'no god words in file names': { 'wire/utils.ts': '// x\n' },
  };

  test.each(rules.map(({ name }) => [name]))('%s', (name) => {
    const files = Object.entries(breach[name] ?? {}).map(([path, text]) => parseSource(path, text));
    expect(ruleNamed(name).breaches(files)).toHaveLength(1);
  });

  test.each([
    [
      'a word in a comment or a string is no code',
      'proxy/a.ts',
      "// process.env\nconst a = 'console.log'; /* Date.now() */\n",
    ],
    ['a default of Math.random is passed in', 'proxy/a.ts', '// x\nexport function f({ random = Math.random }) {}\n'],
    [
      'a function with a name, in a literal or in a class is young',
      'proxy/a.ts',
      '// x\nlet f: (b: B) => C[] = () => [];\na.b = f;\na.b = { c: () => d };\nclass E {\n  f = () => g;\n}\nif (a.b === c) d(() => e);\n',
    ],
    ['a type of a library is gone at run time', 'proxy/a.ts', "// x\nimport type { Enforcer } from 'casbin';\n"],
  ])('%s', (_, path, text) => {
    const source = parseSource(path, text);
    expect(rules.flatMap(({ breaches }) => breaches([source]))).toEqual([]);
  });
});

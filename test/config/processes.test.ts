import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, describe, expect, test } from 'vitest';
import { PosternError } from '#base/error';
import {
  factsOf,
  readSettingsFile,
  resolveHome,
  serverConfig,
  serverSettings,
  sidecarConfig,
  sidecarSettings,
} from '#config';

const folder = mkdtempSync(join(tmpdir(), 'postern-config-'));
afterAll(() => rmSync(folder, { recursive: true }));

async function fileOf(name: string, content: string) {
  writeFileSync(join(folder, name), content);
  return readSettingsFile(join(folder, name));
}

function problemsOf(
  work: () => unknown,
): readonly { message: string; line?: number; column?: number; hint?: string }[] {
  try {
    work();
  } catch (thrown) {
    if (thrown instanceof PosternError) return thrown.problems;
    throw thrown;
  }
  return [];
}

describe('precedence', () => {
  test('a flag beats a variable, which beats the file, which beats the default', async () => {
    const file = await fileOf('server.yaml', 'listen: 127.0.0.1:3\n');
    const listen = (flags: object, env: object, from?: typeof file) =>
      serverConfig({ flags: { ...flags }, env: { ...env }, file: from }).listen;
    expect(listen({}, {})).toBe('127.0.0.1:8443');
    expect(listen({}, {}, file)).toBe('127.0.0.1:3');
    expect(listen({}, { POSTERN_LISTEN: '127.0.0.1:2' }, file)).toBe('127.0.0.1:2');
    expect(listen({ listen: '127.0.0.1:1' }, { POSTERN_LISTEN: '127.0.0.1:2' }, file)).toBe('127.0.0.1:1');
  });

  test('pairs come from repeated flags, from one variable with commas, or from a map in the file', async () => {
    const expected = { payments: '127.0.0.1:9101', ledger: '127.0.0.1:9102' };
    const pairs = ['payments=127.0.0.1:9101', 'ledger=127.0.0.1:9102'];
    const file = await fileOf('sidecar.yaml', 'upstreams:\n  payments: 127.0.0.1:9101\n  ledger: 127.0.0.1:9102\n');
    expect(sidecarConfig({ flags: { upstreams: pairs }, env: {} }).upstreams).toEqual(expected);
    expect(sidecarConfig({ flags: {}, env: { POSTERN_UPSTREAMS: pairs.join(',') } }).upstreams).toEqual(expected);
    expect(sidecarConfig({ flags: {}, env: {}, file }).upstreams).toEqual(expected);
  });
});

describe('limits', () => {
  test('are numbers however they are said, and none is there that is not known', async () => {
    const file = await fileOf('limits.yaml', 'limits:\n  connections: 50\n  headMs: 2000\n');
    const expected = { connections: 50, headMs: 2_000 };
    expect(sidecarConfig({ flags: {}, env: {}, file }).limits).toEqual(expected);
    const flags = { limits: ['connections=50', 'headMs=2000'] };
    expect(sidecarConfig({ flags, env: {} }).limits).toEqual(expected);
    expect(sidecarConfig({ flags: {}, env: { POSTERN_LIMITS: 'connections=50,headMs=2000' } }).limits).toEqual(
      expected,
    );
    const wrong = ['connectons=5', 'headers=0', 'headMs=soon'];
    const problems = problemsOf(() => sidecarConfig({ flags: { limits: wrong }, env: {} }));
    expect(problems.map(({ message }) => message)).toEqual([
      expect.stringContaining('unknown key "connectons"'),
      expect.stringContaining('--limit headers must be at least 8'),
      expect.stringContaining('--limit headMs must be'),
    ]);
  });
});

describe('problems', () => {
  test('are told all at once, each by the name under which it was said', async () => {
    const file = await fileOf('bad.yaml', 'admin: nowhere\n');
    const problems = problemsOf(() =>
      sidecarConfig({
        flags: { app: '1', labels: ['a'] },
        env: { POSTERN_DRAIN: 'soon', POSTERN_INBOUND: '0.0.0.0:70000' },
        file,
      }),
    );
    expect(problems.map(({ message }) => message)).toEqual([
      '--app must be HOST:PORT, or h2c://HOST:PORT or tcp://HOST:PORT, not "1"',
      'POSTERN_INBOUND must be HOST:PORT, not "0.0.0.0:70000"',
      'admin must be HOST:PORT, not "nowhere"',
      '--label must be NAME=VALUE, each name once, not "a"',
      'POSTERN_DRAIN must be a duration such as 30s, not "soon"',
    ]);
    expect(problems[2]).toMatchObject({ file: join(folder, 'bad.yaml'), line: 1, column: 1 });
  });

  test('an unknown key of a file is refused, with its place and the nearest known one', async () => {
    const file = await fileOf('typo.yaml', 'app: 127.0.0.1:1\nout-bound: 127.0.0.1:1\n');
    expect(problemsOf(() => sidecarConfig({ flags: {}, env: {}, file }))).toEqual([
      {
        file: join(folder, 'typo.yaml'),
        line: 2,
        column: 1,
        message: 'unknown key "out-bound"',
        hint: 'did you mean outbound?',
      },
    ]);
  });

  test.each([
    ['list.yaml', '- 1\n', /must be a map/],
    ['alias.yaml', 'a: &a [1]\na: *a\n', /not YAML|unique/],
    ['torn.json', '{', /not JSON/],
  ])('a file that cannot be settings is refused: %s', async (name, content, words) => {
    await expect(fileOf(name, content).then((file) => serverConfig({ flags: {}, env: {}, file }))).rejects.toSatisfy(
      (thrown) => {
        const { message, problems } = thrown as PosternError;
        return words.test([message, ...problems.map((problem) => problem.message)].join(' '));
      },
    );
  });
});

describe('contradictions', () => {
  test.each([
    [{ admin: '0.0.0.0:15000' }, /--unsafe-admin-non-loopback/],
    [{ outbound: '10.0.0.1:15001' }, /--unsafe-outbound-non-loopback/],
    [{ upstreams: ['a=0.0.0.0:1'] }, /--unsafe-outbound-non-loopback/],
    [{ inbound: '0.0.0.0:15001' }, /--inbound and --outbound want the same port/],
    [{ admin: '127.0.0.1:9', metrics: '127.0.0.1:9' }, /--admin and --metrics want the same port/],
    [{ advertise: '10.0.0.1:0' }, /--advertise must name a port/],
    [{ token: 'a', tokenFile: 'b' }, /twice/],
  ])('are refused: %j', (flags, words) => {
    expect(
      problemsOf(() => sidecarConfig({ flags, env: {} }))
        .map(({ message }) => message)
        .join(),
    ).toMatch(words);
  });

  test.each([
    { admin: '0.0.0.0:15000', unsafeAdminNonLoopback: true },
    { admin: '[::1]:15000' },
    { admin: 'localhost:15000' },
    { admin: '127.0.0.1:0', metrics: '127.0.0.1:0', outbound: '127.0.0.1:0', inbound: '0.0.0.0:0' },
  ])('what is said on purpose, or is none, is allowed: %j', (flags) => {
    expect(problemsOf(() => sidecarConfig({ flags, env: {} }))).toEqual([]);
  });
});

test('the result is frozen, and no secret shows when it is printed', () => {
  const config = sidecarConfig({ flags: { token: 'very-secret', labels: ['a=b'] }, env: {} });
  expect(Object.isFrozen(config) && Object.isFrozen(config.labels)).toBe(true);
  expect(config.token).toBe('very-secret');
  for (const text of [JSON.stringify(config), inspect(config), inspect({ config })]) {
    expect(text).not.toContain('very-secret');
    expect(text).toContain('(hidden)');
  }
});

test('every setting has a description, and its names as a flag, a variable and a key do not clash', () => {
  for (const settings of [serverSettings, sidecarSettings]) {
    const facts = factsOf(settings);
    for (const { description, key } of facts) expect(description, key).not.toBe('');
    expect(new Set(facts.map(({ flag }) => flag)).size).toBe(facts.length);
  }
});

describe('home', () => {
  test('is the flag, else POSTERN_HOME, else ~/.postern', () => {
    expect(resolveHome('/a', { POSTERN_HOME: '/b', HOME: '/c' })).toBe('/a');
    expect(resolveHome(undefined, { POSTERN_HOME: '/b', HOME: '/c' })).toBe('/b');
    expect(resolveHome(undefined, { HOME: '/c' })).toBe('/c/.postern');
  });

  test('F5: without HOME it is that of the user database', () => {
    expect(resolveHome(undefined, {})).toMatch(/^\/.*\.postern$/);
  });
});

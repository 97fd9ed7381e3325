import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createHome, outcomeOf, runPostern, spawnPostern } from '../helpers/postern.ts';

/** An older Node of this machine, when it has one: the launcher must work on it. */
const oldNode = ['/usr/bin/node', '/usr/local/bin/node'].find(
  (path) => existsSync(path) && Number(/v(\d+)/.exec(spawnSync(path, ['--version']).stdout.toString())?.[1]) < 24,
);

describe.skipIf(!oldNode)('on an older Node', () => {
  test('the launcher starts again with the pinned one', async () => {
    const { code, stdout } = await runPostern(['version', '-o', 'json'], { node: oldNode! });
    expect(code).toBe(0);
    expect(Number(JSON.parse(stdout).node.split('.')[0])).toBeGreaterThanOrEqual(24);
  });

  test('the exit code comes through', async () => {
    expect((await runPostern(['versoin'], { node: oldNode! })).code).toBe(2);
  });

  test('POSTERN_NODE is preferred; one that is too old is said, not tried for ever', async () => {
    const { code, stderr } = await runPostern(['version'], { node: oldNode!, env: { POSTERN_NODE: oldNode! } });
    expect(code).toBe(1);
    expect(stderr).toMatch(/needs Node 24 or newer, and this is Node \d+.*\nhint: .*npm ci/);
  });

  test('a POSTERN_NODE that cannot be run is named', async () => {
    using home = createHome();
    mkdirSync(join(home.path, 'bin'));
    writeFileSync(join(home.path, 'bin', 'node'), 'no program', { mode: 0o644 });
    const env = { POSTERN_NODE: join(home.path, 'bin', 'node') };
    const { code, stderr } = await runPostern(['version'], { node: oldNode!, env });
    expect([code, stderr]).toEqual([1, expect.stringContaining(`${env.POSTERN_NODE} cannot be run`)]);
  });

  test('signals are passed on, and the death by a signal is told as one', async () => {
    const child = spawnPostern(['apply', '-f', '-'], { node: oldNode! });
    const outcome = outcomeOf(child);
    // The pinned Node is up, and waits for its input, once it has taken what was written.
    await new Promise<void>((resolve) => child.stdin!.write('kind: Group\n', () => resolve()));
    child.kill('SIGTERM');
    expect((await outcome).signal).toBe('SIGTERM');
  });
});

test('something unexpected is said in one line, without its stack, and ends with 1', async () => {
  const soon = 'data:text/javascript,setTimeout(() => { Promise.reject(new Error("odd")) }, 200)';
  const child = spawnPostern(['apply', '-f', '-'], { args: ['--import', soon] });
  const { code, stderr } = await outcomeOf(child);
  expect([code, stderr]).toEqual([1, 'error: odd\nhint: this is unexpected; run again with --debug for the details\n']);
});

test('a reader that goes away early is no error', async () => {
  const child = spawnPostern(['--help']);
  const outcome = outcomeOf(child);
  child.stdout!.destroy();
  const { code, stderr } = await outcome;
  expect([code, stderr]).toEqual([0, '']);
});

test('F5: an odd locale, an odd time zone, no HOME, no terminal: still works', async () => {
  for (const env of [
    { LC_ALL: 'tr_TR.UTF-8', TZ: 'Pacific/Chatham' },
    { LANG: 'C', TZ: 'nowhere' },
    { HOME: undefined },
    { TERM: 'dumb' },
  ]) {
    const { code, stdout, stderr } = await runPostern(['version'], { env });
    expect([code, stderr, stdout]).toEqual([0, '', expect.stringMatching(/^postern \d+\.\d+\.\d+ /)]);
  }
});

test('F5: without HOME or a place for the compile cache everything still runs', async () => {
  const { code, stderr } = await runPostern(['version'], {
    env: { HOME: '/proc/nowhere', NODE_COMPILE_CACHE: undefined },
  });
  expect([code, stderr]).toEqual([0, '']);
});

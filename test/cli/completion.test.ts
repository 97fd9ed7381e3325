import { spawnSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { completionScript } from '../../cli/completion.ts';
import { createContext } from '../../cli/context.ts';
import { createProgram } from '../../cli/program.ts';
import { createHome } from '../helpers/postern.ts';
import { createSink } from '../helpers/sink.ts';

const scripts: Record<string, string> = {};
beforeAll(async () => {
  const { context } = createContext({ env: {}, stdout: createSink(), stderr: createSink() });
  const program = await createProgram({ context });
  for (const shell of ['bash', 'zsh', 'fish']) scripts[shell] = completionScript(shell, program);
});

/** What bash offers for the words, the last of which is being typed; live names come from a stand-in. */
function offered(...words: readonly string[]): readonly string[] {
  using home = createHome();
  writeFileSync(join(home.path, 'completion'), scripts.bash!);
  writeFileSync(join(home.path, 'postern'), '#!/bin/sh\necho "live-$2"\n');
  chmodSync(join(home.path, 'postern'), 0o755);
  const list = ['postern', ...words].map((word) => `'${word}'`).join(' ');
  const script = `source ${home.path}/completion; COMP_WORDS=(${list}); COMP_CWORD=${words.length}; _postern; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = spawnSync('bash', ['--norc', '-c', script], {
    env: { PATH: `${home.path}:/usr/bin:/bin` },
    cwd: home.path,
  });
  expect(stderr.toString()).toBe('');
  return stdout.toString().split('\n').filter(Boolean);
}

describe('bash completes', () => {
  test.each([
    [['sta'], ['status']],
    [['ca', 'r'], ['rotate']],
    [['token', 'c'], ['create']],
    [['sidecar', '--up'], ['--upstream']],
    [['--home', '/tmp', 'ca', 'sh'], ['show']],
    [['identity', 'ban', ''], expect.arrayContaining(['live-identity', '--reason'])],
    [['describe', ''], expect.arrayContaining(['live-service', '--output'])],
    [['proxy', 'dump', 'live-s'], ['live-service']],
    [['-o', 'wi'], ['wide']],
    [['get', 'live'], ['live-kind']],
    [['get', 'policy', 'live'], ['live-policy']],
    [['status', '-o', 'j'], ['json']],
    [['completion', 'z'], ['zsh']],
    [['sidecar', '--app', ''], []],
    [['server', '--config', 'compl'], ['completion']],
  ])('%j', (words, expected) => {
    expect(offered(...words)).toEqual(expected);
  });
});

test('every command and option is in the script of every shell', () => {
  for (const word of ['init', 'rotate', 'unban', 'export', 'query', 'tail']) {
    for (const [shell, script] of Object.entries(scripts)) expect(script, shell).toContain(word);
  }
  for (const [shell, script] of Object.entries(scripts)) expect(script, shell).toMatch(/unsafe-admin-non-loopback/);
  expect(scripts.bash).not.toContain('complete-names)');
});

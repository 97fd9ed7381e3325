import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { anyPorts } from '../../cli/demo/processes.ts';
import { createHome, runPostern } from '../helpers/postern.ts';

/** Libraries that a sidecar must never load: each costs memory in every one of thousands of processes. */
const heavy = ['fastify', 'casbin', 'jose', '@peculiar/x509', 'reflect-metadata', 'node-forge', 'yaml', 'commander'];

/** Which packages a command line loads before it ends. */
async function packagesOf(
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<readonly string[]> {
  using home = createHome();
  const hook = join(home.path, 'hook.mjs');
  const found = join(home.path, 'found');
  writeFileSync(
    hook,
    `import { appendFileSync } from 'node:fs';
     import { registerHooks } from 'node:module';
     registerHooks({ load(url, context, next) { appendFileSync(${JSON.stringify(found)}, url + '\\n'); return next(url, context); } });`,
  );
  writeFileSync(found, '');
  await runPostern([...words, '--home', home.path], { args: ['--import', hook], env });
  const { readFileSync } = await import('node:fs');
  const urls = readFileSync(found, 'utf8').split('\n');
  const names = urls.map((url) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url)?.[1]);
  return [...new Set(names.filter((name) => name !== undefined))];
}

test('a sidecar loads none of the large libraries, up to where it asks for its identity', async () => {
  expect(await packagesOf(['sidecar', ...anyPorts])).toEqual([]);
});

test('the hook sees what is loaded: help needs commander and nothing else', async () => {
  expect(await packagesOf(['--help'])).toEqual(['commander']);
  expect(await packagesOf(['status'])).toEqual(['commander']);
});

test('YAML is loaded by who asks for it only', async () => {
  expect(await packagesOf(['version', '-o', 'yaml'])).toEqual(['commander', 'yaml']);
  expect(heavy).toContain('yaml');
});

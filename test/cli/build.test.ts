import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { createHome } from '../helpers/postern.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

test('npm run build makes a package that runs without TypeScript and without the pinned Node', {
  timeout: 60_000,
}, () => {
  using home = createHome();
  const dist = join(home.path, 'dist');
  const built = spawnSync(process.execPath, [join(root, 'cli', 'build.ts'), dist]);
  expect(built.stdout.toString() + built.stderr.toString()).toBe('');
  expect(built.status).toBe(0);

  const manifest = JSON.parse(readFileSync(join(dist, 'package.json'), 'utf8'));
  expect(manifest).toMatchObject({ bin: { postern: 'cli/postern.js' }, engines: { node: '>=24' } });
  for (const key of ['optionalDependencies', 'devDependencies', 'scripts', 'private'])
    expect(manifest).not.toHaveProperty(key);
  for (const path of Object.values<string>(manifest.imports)) {
    expect(path).toMatch(/\.js$/);
    if (!path.includes('*')) expect(existsSync(join(dist, path)), path).toBe(true);
  }

  symlinkSync(join(root, 'node_modules'), join(home.path, 'node_modules'));
  const env = { PATH: '/usr/bin:/bin', HOME: home.path };
  const run = (...words: string[]) => spawnSync(process.execPath, [join(dist, 'cli', 'postern.js'), ...words], { env });
  expect(run('version').stdout.toString()).toContain(`postern ${manifest.version} `);
  const made = run('-q', 'ca', 'init', '--trust-domain', 'example.org');
  expect([made.status, made.stderr.toString()]).toEqual([0, '']);
  expect(run('--help').stdout.toString()).toContain('sidecar');
});

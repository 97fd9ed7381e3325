// The documentation is true: the reference is what the code says, and what pages name exists.

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readErrorTables } from './reference/errors-page.ts';
import { pages, renderPage } from './reference/pages.ts';
import { root } from './sources.ts';

const read = (path: string): string => (existsSync(join(root, path)) ? readFileSync(join(root, path), 'utf8') : '');

describe('the reference', () => {
  test.each(Object.keys(pages))('%s is what the code says (npm run docs writes it)', async (path) => {
    expect(read(path)).toBe(await renderPage(path));
  });
});

describe('error codes', () => {
  test('each is in one table only, so that a code has one meaning', async () => {
    const tables = await readErrorTables();
    const all = tables.flatMap(({ path, rows }) => Object.keys(rows).map((code) => ({ code, path })));
    const twice = all.filter(({ code }, index) => all.findIndex((each) => each.code === code) !== index);
    expect(twice).toEqual([]);
    expect(all.length).toBeGreaterThan(60);
  });

  test('each is a word in capitals with its folder first; messages are lower case without a period; hints are given for what people can mend', async () => {
    const wrong = (await readErrorTables()).flatMap(({ path, rows }) =>
      Object.entries(rows).flatMap(([code, { message, hint }]) => [
        ...(/^[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$/.test(code) ? [] : [`${path} ${code}: its name`]),
        ...(/^([A-Z][a-z]+ |.*\.$)/.test(message) ? [`${path} ${code}: ${message}`] : []),
        ...(hint && /\.$/.test(hint) ? [`${path} ${code}: ${hint}`] : []),
      ]),
    );
    expect(wrong).toEqual([]);
  });
});

describe('pages', () => {
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard', '*.md'], {
    cwd: root,
  });
  const paths = listed
    .toString()
    .split('\0')
    .filter((path) => path !== '' && existsSync(join(root, path)));

  test.each(paths)('%s links only to what exists', (path) => {
    const links = [...read(path).matchAll(/\]\((?!https?:|mailto:|#)([^)#\s]+)/g)].map(([, link]) => link!);
    expect(links.filter((link) => !existsSync(join(root, dirname(path), link)))).toEqual([]);
  });

  test.each(paths)('%s names only error codes that exist', async (path) => {
    const known = new Set((await readErrorTables()).flatMap(({ rows }) => Object.keys(rows)));
    const families = new Set([...known].map((code) => code.split('_')[0]));
    const named = [...read(path).matchAll(/`([A-Z][A-Z0-9]+_[A-Z0-9_]+[A-Z0-9])`/g)].map(([, code]) => code!);
    expect(named.filter((code) => families.has(code.split('_')[0]) && !known.has(code))).toEqual([]);
  });
});

describe('dependencies', () => {
  interface Package {
    readonly dependencies: Readonly<Record<string, string>>;
    readonly devDependencies: Readonly<Record<string, string>>;
    readonly optionalDependencies: Readonly<Record<string, string>>;
  }
  const { dependencies, devDependencies, optionalDependencies } = JSON.parse(read('package.json')) as Package;
  const all = { ...dependencies, ...devDependencies, ...optionalDependencies };

  test.each(Object.entries(all))('%s %s is pinned to one version', (_, version) => {
    expect(version, 'a range lets the next install run code that nobody has looked at').toMatch(/^\d+\.\d+\.\d+$/);
  });

  test('each has its row in docs/design/dependencies.md, and each row its dependency', () => {
    const rows = [...read('docs/design/dependencies.md').matchAll(/^\| `([^`]+)` \|/gm)].map(([, name]) => name);
    expect(rows.toSorted()).toEqual(Object.keys(all).toSorted());
  });

  test('no package of the lockfile runs a script when it is installed, and each has its integrity', () => {
    const lock = JSON.parse(read('package-lock.json')) as {
      packages: Readonly<Record<string, { hasInstallScript?: boolean; integrity?: string; optional?: boolean }>>;
    };
    const entries = Object.entries(lock.packages).filter(([path]) => path !== '');
    const scripts = entries.filter(([, { hasInstallScript }]) => hasInstallScript);
    expect(scripts.map(([path]) => path)).toEqual([]);
    expect(entries.filter(([, { integrity }]) => !integrity).map(([path]) => path)).toEqual([]);
    expect(read('.npmrc')).toContain('ignore-scripts=true');
  });
});

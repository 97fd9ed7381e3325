// `npm run build`: the publishable package in dist/: plain JavaScript, a package.json of its own, no Node binaries. Run by hand and by tests only.
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const out = process.argv[2] ?? join(root, 'dist');
/** What is published: every folder of the product; tests, benchmarks and docs stay. */
const folders = ['base', 'ca', 'wire', 'policy', 'audit', 'proxy', 'control', 'config', 'cli'];
const papers = ['README.md', 'LICENSE', 'CHANGELOG.md', 'SECURITY.md'].filter((name) => existsSync(join(root, name)));

interface Manifest {
  readonly imports: Readonly<Record<string, string>>;
  readonly [key: string]: unknown;
}

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
if (compiles()) {
  for (const folder of folders) copyAssets(folder);
  for (const name of papers) cpSync(join(root, name), join(out, name));
  writeFileSync(join(out, 'package.json'), `${JSON.stringify(publishedManifest(), undefined, 2)}\n`);
  chmodSync(join(out, 'cli', 'postern.js'), 0o755);
} else {
  rmSync(out, { recursive: true, force: true });
  process.exitCode = 1;
}

/** Types are checked on the way: a package that does not compile is not made. */
function compiles(): boolean {
  const project = join(out, 'tsconfig.json');
  const compilerOptions = {
    noEmit: false,
    outDir: out,
    rootDir: root,
    typeRoots: [join(root, 'node_modules', '@types')],
  };
  const include = folders.map((folder) => join(root, folder));
  writeFileSync(project, JSON.stringify({ extends: join(root, 'tsconfig.json'), compilerOptions, include }));
  const tsc = join(root, 'node_modules', '.bin', 'tsc');
  const { status } = spawnSync(tsc, ['-p', project], { stdio: 'inherit' });
  rmSync(project);
  return status === 0;
}

/** Files that are no TypeScript, such as the Casbin model and the launcher. */
function copyAssets(folder: string): void {
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true, recursive: true })) {
    if (!entry.isFile() || entry.name.endsWith('.ts')) continue;
    const from = join(entry.parentPath, entry.name);
    cpSync(from, join(out, from.slice(root.length)));
  }
}

/** The same package with imports that name JavaScript, and nothing that only a clone needs. */
function publishedManifest(): object {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest;
  const {
    private: _,
    scripts: _scripts,
    devDependencies: _dev,
    optionalDependencies: _node,
    imports,
    ...kept
  } = manifest;
  const mapped = Object.entries(imports).map(([name, path]) => [name, path.replace(/\.ts$/, '.js')]);
  return {
    ...kept,
    imports: Object.fromEntries(mapped),
    exports: { './package.json': './package.json' },
    files: [...folders, ...papers],
  };
}

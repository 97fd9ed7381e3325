// The programs of others that Postern is tried with, and the Debian packages or Go modules that carry them. A program that is missing is a failure,
// never a skip.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Program {
  readonly name: string;
  readonly packages: readonly string[];
  /** Built from this Go package as the module in `h2spec/` pins it, into a folder of our own, when it is found nowhere. */
  readonly goPackage?: string;
}

export const programs: readonly Program[] = [
  { name: 'nginx', packages: ['nginx-light'] },
  { name: 'curl', packages: ['curl'] },
  { name: 'openssl', packages: ['openssl'] },
  { name: 'python3', packages: ['python3'] },
  { name: 'keytool', packages: ['default-jre-headless'] },
  { name: 'postgres', packages: ['postgresql'] },
  { name: 'initdb', packages: ['postgresql'] },
  { name: 'psql', packages: ['postgresql-client'] },
  { name: 'redis-server', packages: ['redis-server'] },
  { name: 'redis-cli', packages: ['redis-tools'] },
  { name: 'h2spec', packages: ['golang-go'], goPackage: 'github.com/summerwind/h2spec/cmd/h2spec' },
];

/** Programs that are built here; npm leaves it alone. */
const built = fileURLToPath(new URL('../../node_modules/.cache/postern-peers', import.meta.url));

/** Where a program lies; also looks where Debian puts servers. */
export function pathOf(name: string): string | undefined {
  const folders = [
    ...(process.env.PATH ?? '').split(delimiter),
    '/usr/sbin',
    '/usr/local/sbin',
    '/sbin',
    '/usr/local/go/bin',
    join(built, 'bin'),
    ...postgresFolders(),
  ];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

/** Debian keeps each version of PostgreSQL's server programs in a folder of its own; the newest first. */
function postgresFolders(): string[] {
  const all = '/usr/lib/postgresql';
  if (!existsSync(all)) return [];
  return readdirSync(all)
    .toSorted((a, b) => Number(b) - Number(a))
    .map((version) => join(all, version, 'bin'));
}

/** The same for a test, which cannot go on without it. */
export function programPath(name: string): string {
  const path = pathOf(name);
  if (path === undefined) throw new Error(`${name} is missing: run npm run test:peers as root, or install it`);
  return path;
}

/** Installs what is missing when that is possible (root, apt-get); gives what is missing still. */
export function provide(wanted: readonly Program[], say: (text: string) => void): readonly Program[] {
  const isMissing = ({ name }: Program): boolean => pathOf(name) === undefined;
  buildMissing(wanted.filter(isMissing), say);
  const missing = wanted.filter(isMissing);
  const apt = pathOf('apt-get');
  if (missing.length === 0 || !apt || process.getuid?.() !== 0) return missing;
  const packages = missing.flatMap((program) => program.packages);
  say(`installing ${packages.join(' ')}`);
  withoutStartingServices(() => {
    run(apt, ['update', '-qq']);
    run(apt, ['install', '-y', '-qq', '--no-install-recommends', ...packages]);
  });
  buildMissing(missing.filter(isMissing), say);
  return missing.filter(isMissing);
}

/** With the Go that is there, or not at all. */
function buildMissing(missing: readonly Program[], say: (text: string) => void): void {
  const go = pathOf('go');
  if (!go) return;
  for (const { name, goPackage } of missing) {
    if (goPackage === undefined) continue;
    say(`building ${goPackage}`);
    const cwd = fileURLToPath(new URL(name, import.meta.url));
    const env = { GOPATH: join(built, 'go'), GOFLAGS: '-modcacherw' };
    run(go, ['build', '-o', join(built, 'bin', name), goPackage], { cwd, env });
  }
}

/** Debian starts a server as it is installed, unless this file says no; ours goes again. */
function withoutStartingServices(install: () => void): void {
  const policy = '/usr/sbin/policy-rc.d';
  const ours = !existsSync(policy);
  if (ours) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    install();
  } finally {
    if (ours) rmSync(policy, { force: true });
  }
}

function run(
  command: string,
  args: readonly string[],
  more: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
): void {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', ...more.env };
  spawnSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'], ...more, env });
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

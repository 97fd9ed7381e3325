// The programs of others that Postern is tried with, and the Debian packages or Go modules that carry them. A program that is missing is a failure,
// never a skip.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installPackages, type Program as Packaged, pathOf as pathAmong } from '../../bench/peers/programs.ts';

export interface Program extends Packaged {
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
  return pathAmong(name, ['/usr/local/go/bin', join(built, 'bin'), ...postgresFolders()]);
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
  installPackages(
    missing.flatMap((program) => program.packages),
    say,
  );
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

function run(
  command: string,
  args: readonly string[],
  more: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
): void {
  const env = { ...process.env, ...more.env };
  spawnSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'], ...more, env });
}

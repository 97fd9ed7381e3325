// The programs of others that benchmarks and tests need, and the Debian packages that carry them: found on this machine, installed when that is
// possible (root, apt-get). Installing starts no service.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

export interface Program {
  readonly name: string;
  readonly packages: readonly string[];
}

/** Where a program lies; also looks where Debian puts servers, and in `more`. */
export function pathOf(name: string, more: readonly string[] = []): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin', '/sbin', ...more];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

/** The same for somebody who cannot go on without it. */
export function neededPath(name: string): string {
  const path = pathOf(name);
  if (path === undefined) throw new Error(`${name} is missing: run this as root on Debian, or install it`);
  return path;
}

/** Installs what is missing when that is possible; gives what is missing still. */
export function provide(wanted: readonly Program[], say: (text: string) => void): readonly Program[] {
  const isMissing = ({ name }: Program): boolean => pathOf(name) === undefined;
  installPackages(
    wanted.filter(isMissing).flatMap(({ packages }) => packages),
    say,
  );
  return wanted.filter(isMissing);
}

/** Does nothing where it is not possible (root, apt-get). */
export function installPackages(packages: readonly string[], say: (text: string) => void): void {
  const apt = pathOf('apt-get');
  if (packages.length === 0 || !apt || process.getuid?.() !== 0) return;
  say(`installing ${packages.join(' ')}`);
  withoutStartingServices(() => {
    run(apt, ['update', '-qq']);
    run(apt, ['install', '-y', '-qq', '--no-install-recommends', ...packages]);
  });
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

function run(command: string, args: readonly string[]): void {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  spawnSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'], env });
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

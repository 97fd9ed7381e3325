// Limits that the operating system puts on a running process, as a full disk would: no file of it may grow (RLIMIT_FSIZE). Linux only.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/** Whether this machine can change the limits of a process (util-linux's prlimit, on every Linux distribution). */
export const canFillDisk = process.platform === 'linux' && ['/usr/bin/prlimit', '/bin/prlimit'].some(existsSync);

/** From now on every write of the process to a file fails. */
export function fillDisk(pid: number): void {
  setLimit(pid, '0');
}

export function emptyDisk(pid: number): void {
  setLimit(pid, 'unlimited');
}

/** Only the soft limit, so that an unprivileged user may raise it again. */
function setLimit(pid: number, bytes: string): void {
  execFileSync('prlimit', ['--pid', String(pid), `--fsize=${bytes}:unlimited`]);
}

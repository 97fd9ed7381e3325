// Runs the real command line as a process of its own, in a home of its own.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const launcher = fileURLToPath(new URL('../../cli/postern.js', import.meta.url));

export interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** Added to a bare environment: PATH and a HOME that is empty. `undefined` removes one. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly node?: string;
  readonly input?: string;
  readonly args?: readonly string[];
  readonly uid?: number;
  /** Shell commands that the process is started after, such as `ulimit -S -f 8`. */
  readonly shell?: string;
}

/** A temporary folder that is removed with `dispose`. */
export function createHome(): { readonly path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'postern-test-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** Starts `postern WORDS`; the caller ends it. */
export function spawnPostern(
  words: readonly string[],
  { env = {}, node = process.execPath, args = [], uid, shell }: RunOptions = {},
): ChildProcess {
  const base = { PATH: process.env.PATH, HOME: tmpdir(), NODE_COMPILE_CACHE: join(tmpdir(), 'postern-test-cache') };
  const merged = Object.fromEntries(Object.entries({ ...base, ...env }).filter(([, value]) => value !== undefined));
  const line = [node, ...args, launcher, ...words];
  const [command, ...given] = shell === undefined ? line : ['bash', '-c', `${shell}; exec "$@"`, 'bash', ...line];
  return spawn(command!, given, {
    env: merged,
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(uid === undefined ? {} : { uid }),
  });
}

/** Runs `postern WORDS` to its end. */
export function runPostern(words: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const child = spawnPostern(words, options);
  child.stdin!.on('error', () => undefined).end(options.input ?? '');
  return outcomeOf(child);
}

/** What a started process says until it ends. */
export function outcomeOf(child: ChildProcess): Promise<Outcome> {
  let stdout = '';
  let stderr = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

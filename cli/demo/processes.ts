// Postern's own processes, started and spoken to as a user would: real executables, their real output. Used by the demo, the benchmarks
// and the tests. Everything started here is known by its process id and ended by it.
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const launcher = fileURLToPath(new URL('../postern.js', import.meta.url));
const appFile = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? './app.ts' : './app.js', import.meta.url));

/** Flags that give a sidecar whatever loopback ports are free. */
export const anyPorts = ['--inbound', '--outbound', '--admin', '--metrics'].flatMap((flag) => [flag, '127.0.0.1:0']);

export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs one command to its end. */
export function runPostern(args: readonly string[], input = ''): Promise<Finished> {
  const child = spawn(process.execPath, [launcher, ...args], { stdio: 'pipe' });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdin.on('error', () => undefined).end(input);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code: code ?? 1, stdout, stderr }));
  });
}

export interface Running<T> {
  /** The JSON line that the process printed when it was ready. */
  readonly ready: T;
  readonly pid: number;
  /** Milliseconds from exec to the ready line. */
  readonly readyMs: number;
  /** What it has said on stderr so far, at most the last 64 KiB. */
  log(): string;
  /** Asks it to drain and end; the exit code. */
  stop(): Promise<number | null>;
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
}

/** Starts a server or a sidecar (`-o json` is added) and waits until it says that it is ready; its own words when it ends before that. */
export async function startPostern<T>(args: readonly string[]): Promise<Running<T>> {
  const begun = performance.now();
  const child = spawn(process.execPath, [launcher, ...args, '-o', 'json'], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-65_536);
  });
  const ended = new Promise<number | null>((resolve) => child.on('close', (code) => resolve(code)));
  const lines = createInterface({ input: child.stdout });
  const first = new Promise<string>((resolve) => lines.once('line', resolve));
  const ready = await Promise.race([first, ended]);
  if (typeof ready !== 'string') throw new Error(`postern ${args[0]} ended with ${ready}: ${said.trim()}`);
  return {
    ready: JSON.parse(ready) as T,
    pid: child.pid!,
    readyMs: performance.now() - begun,
    log: () => said,
    stop: () => end(child, 'SIGTERM', ended),
    kill: async () => void (await end(child, 'SIGKILL', ended)),
  };
}

export interface RunningApp {
  readonly address: string;
  readonly pid: number;
  /** Tells the app where its sidecar's outbound listener is. */
  useProxy(address: { readonly host: string; readonly port: number }): void;
  /** From now on it answers every request with 500, or no more. */
  fail(isFailing: boolean): void;
  /** Requests that it has answered. */
  served(): Promise<number>;
  stop(): Promise<void>;
}

/** Starts one demo application; it listens on a free loopback port. */
export async function startApp(name: string): Promise<RunningApp> {
  const child = fork(appFile, [name], { stdio: 'ignore', execArgv: [] });
  const ended = new Promise<number | null>((resolve) => child.on('close', (code) => resolve(code)));
  const told = new Promise<{ port: number }>((resolve) =>
    child.once('message', (message) => resolve(message as never)),
  );
  const ready = await Promise.race([told, ended]);
  if (ready === null || typeof ready === 'number') throw new Error(`the demo application ${name} did not start`);
  return {
    address: `127.0.0.1:${ready.port}`,
    pid: child.pid!,
    useProxy: (outbound) => void child.send({ outbound }),
    fail: (isFailing) => void child.send({ isFailing }),
    served: () =>
      new Promise((resolve) => {
        child.once('message', (message) => resolve((message as { served: number }).served));
        child.send({ count: true });
      }),
    stop: async () => void (await end(child, 'SIGTERM', ended)),
  };
}

async function end(child: ChildProcess, signal: NodeJS.Signals, ended: Promise<number | null>): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) child.kill(signal);
  return ended;
}

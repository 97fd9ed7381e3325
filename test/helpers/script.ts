// Command scripts: what a user types and what must come back. A line is one of
//   $ COMMAND        run in bash, with `postern` on the PATH, in a home of its own
//   & COMMAND        the same in the background; the script goes on at its first line on stdout
//   TEXT             a line of stdout          ! TEXT    a line of stderr          ? N    the exit code (0 when not said)
//   # TEXT           a remark                  [...]     any lines; within a line, <...> is any text
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createHome, launcher, outcomeOf } from './postern.ts';

export interface Step {
  readonly line: number;
  readonly command: string;
  readonly background: boolean;
  readonly stdout: readonly string[];
  readonly stderr: readonly string[];
  readonly code: number;
}

export interface Mismatch {
  readonly step: Step;
  readonly expected: string;
  readonly actual: string;
}

export function parseScript(text: string): readonly Step[] {
  const steps: (Step & { stdout: string[]; stderr: string[] })[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const last = steps.at(-1);
    if (line.startsWith('# ') || line === '') continue;
    if (line.startsWith('$ ') || line.startsWith('& '))
      steps.push({
        line: index + 1,
        command: line.slice(2),
        background: line[0] === '&',
        stdout: [],
        stderr: [],
        code: 0,
      });
    else if (!last) throw new TypeError(`line ${index + 1} comes before any command`);
    else if (line.startsWith('! ')) last.stderr.push(line.slice(2));
    else if (line.startsWith('? ')) steps[steps.length - 1] = { ...last, code: Number(line.slice(2)) };
    else last.stdout.push(line);
  }
  return steps;
}

/** Runs the steps in order, in one folder that is removed afterwards; the first one that differs, or `undefined`. */
export async function runScript(
  steps: readonly Step[],
  files: Readonly<Record<string, string>> = {},
): Promise<Mismatch | undefined> {
  using home = createHome();
  mkdirSync(join(home.path, 'bin'));
  writeFileSync(join(home.path, 'bin', 'postern'), `#!/bin/sh\nexec '${process.execPath}' '${launcher}' "$@"\n`, {
    mode: 0o755,
  });
  for (const [name, content] of Object.entries(files)) writeFileSync(join(home.path, name), content);
  const env = {
    PATH: `${join(home.path, 'bin')}:${process.env.PATH}`,
    HOME: home.path,
    USER: 'alice',
    NODE_COMPILE_CACHE: join(tmpdir(), 'postern-test-cache'),
  };
  const background: ChildProcess[] = [];
  const start = (command: string): ChildProcess =>
    spawn('bash', ['-c', command], { cwd: home.path, env, stdio: ['ignore', 'pipe', 'pipe'] });
  try {
    for (const step of steps) {
      const mismatch = step.background ? await runInBackground(step) : await runStep(step);
      if (mismatch) return mismatch;
    }
    return undefined;
  } finally {
    await Promise.all(background.map(end));
  }

  async function runStep(step: Step): Promise<Mismatch | undefined> {
    const { stdout, stderr, code } = await outcomeOf(start(step.command));
    const expected = show({ stdout: step.stdout, stderr: step.stderr, code: step.code });
    const actual = show({ stdout: linesOf(stdout), stderr: linesOf(stderr), code });
    const same = matches(linesOf(stdout), step.stdout) && matches(linesOf(stderr), step.stderr) && code === step.code;
    return same ? undefined : { step, expected, actual };
  }

  async function runInBackground(step: Step): Promise<Mismatch | undefined> {
    const child = start(`exec ${step.command}`);
    background.push(child);
    let stderr = '';
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const first = await new Promise<string>((resolve) => {
      createInterface({ input: child.stdout! }).once('line', resolve);
      child.once('close', (code) => resolve(`(ended with ${code}: ${stderr})`));
    });
    return matches([first], step.stdout) ? undefined : { step, expected: step.stdout.join('\n'), actual: first };
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = new Promise((resolve) => child.once('close', resolve));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 5_000);
  await closed;
  clearTimeout(timer);
}

/** Whether the lines are those of the pattern. */
export function matches(lines: readonly string[], pattern: readonly string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return lines.length === 0;
  if (first === '[...]') return lines.some((_, index) => matches(lines.slice(index), rest)) || matches([], rest);
  const [line, ...others] = lines;
  return line !== undefined && lineMatches(line, first) && matches(others, rest);
}

function lineMatches(line: string, pattern: string): boolean {
  const source = pattern.split('<...>').map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${source.join('.*')}$`).test(line.trimEnd());
}

function linesOf(text: string): readonly string[] {
  return text === ''
    ? []
    : text
        .replace(/\n$/, '')
        .split('\n')
        .filter((line) => line !== '');
}

function show({
  stdout,
  stderr,
  code,
}: {
  stdout: readonly string[];
  stderr: readonly string[];
  code: number | null;
}): string {
  return [...stdout, ...stderr.map((line) => `! ${line}`), `? ${code}`].join('\n');
}

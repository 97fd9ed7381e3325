// Runs `postern policy` (and `postern apply`) in this process against a control plane of one answer for each path.
import { Command } from 'commander';
import { register as registerApply } from '../../cli/commands/apply.ts';
import { register } from '../../cli/commands/policy.ts';
import { type CliContext, createContext } from '../../cli/context.ts';
import { createClock } from './clock.ts';

export interface PolicyRun {
  /** HOME of the run. */
  readonly folder: string;
  readonly format?: 'table' | 'json';
  /** What the control plane answers; `example.org` is its trust domain. */
  readonly answer?: (asked: { readonly method: string; readonly path: string; readonly body?: unknown }) => unknown;
}

export function runPolicy(args: readonly string[], o: PolicyRun) {
  return runCommand(['policy', ...args], o);
}

export async function runCommand(args: readonly string[], { folder, format = 'table', answer }: PolicyRun) {
  let out = '';
  let err = '';
  const asked: string[] = [];
  const sink = (write: (text: string) => void) => ({
    write: (text: string | Uint8Array) => write(String(text)),
    on: () => undefined,
  });
  const control = createContext({
    env: { HOME: folder },
    clock: createClock(),
    stdout: sink((text) => {
      out += text;
    }),
    stderr: sink((text) => {
      err += text;
    }),
  });
  await control.configure({ output: format });
  const api = {
    trustDomain: 'example.org',
    async call(request: { method: string; path: string }) {
      asked.push(request.path);
      return answer?.(request);
    },
  };
  const context = Object.create(control.context, {
    withApi: { value: (work: (given: typeof api) => Promise<unknown>) => work(api) },
    output: { get: () => control.context.output },
  }) as CliContext;
  const program = new Command().exitOverride();
  register(program, context);
  registerApply(program, context);
  await program.parseAsync(args, { from: 'user' });
  return { out, err, asked, code: control.exitCode() };
}

// `postern demo`: a whole mesh of real processes on this machine, its story told and every claim in it checked. Ends by itself.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import type { Cast } from '../demo/story.ts';
import { exitCodes } from '../exit-codes.ts';
import { examples } from '../program.ts';

interface DemoOptions {
  readonly stay?: boolean;
}

export function register(program: Command, context: CliContext): void {
  const command = program
    .command('demo')
    .description('show a whole mesh at work on this machine: real processes, free ports, a temporary home')
    .option('--stay', 'leave the mesh running afterwards and say what to try; Ctrl-C ends it')
    .action((options: DemoOptions) => runDemo(context, options));
  examples(command, 'postern demo', 'postern demo --stay');
}

async function runDemo(context: CliContext, { stay = false }: DemoOptions): Promise<void> {
  const { createStage } = await import('../demo/stage.ts');
  const { tellStory } = await import('../demo/story.ts');
  const { raw, paint } = context.output;
  const folder = mkdtempSync(join(tmpdir(), 'postern-demo-'));
  const stage = createStage(context.output);
  const stopped = abortOf(context.stopSignal());
  const begun = context.clock.monotonic();
  raw(
    `${paint('bold', 'Postern demo')}: a certificate authority, three services, policies and audit, all in ${folder}\n`,
  );
  try {
    const cast = await Promise.race([tellStory(stage, folder), stopped]);
    if (cast === undefined) return context.exitWith(exitCodes.failed);
    const { held, failed } = stage.claims;
    const seconds = ((context.clock.monotonic() - begun) / 1_000).toFixed(0);
    raw(`\n${paint('bold', `${held} claims held, ${failed.length} did not`)} (${seconds} s)\n`);
    for (const claim of failed) raw(`${paint('bad', '✗')} ${claim}\n`);
    if (failed.length > 0) context.exitWith(exitCodes.failed);
    if (stay) {
      raw(whatToTry(cast));
      await stopped;
    }
  } finally {
    await stage.end();
    rmSync(folder, { recursive: true, force: true });
    raw(`Every process was stopped and ${folder} removed.\n`);
  }
  context.output.next('README.md, "Your first mesh": the same by hand');
}

/** Resolves when the user asks to stop. */
function abortOf(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
}

function whatToTry({ home, outbound }: Cast): string {
  return `
The mesh is still running. In another terminal:
  export POSTERN_HOME=${home}
  curl -x http://${outbound.web} http://orders/checkout          # as web: allowed
  curl -x http://${outbound.web} -X POST http://payments/charges # as web: denied, with the reason
  postern policy why web payments POST /charges
  postern audit query --since 10m
  postern status
Ctrl-C here stops every process and removes the folder.
`;
}

// One run of the command line: words in, exit code out. The only place of process.exit.
import { readEnvironment } from '#config';
import { type CliContext, createContext } from './context.ts';
import { fail } from './errors.ts';
import { exitCodeOf, exitCodes } from './exit-codes.ts';

/** A terminal's ^C arrives twice: by itself, and passed on by npm or by the launcher. */
const sameKeystrokeMs = 500;
const longestFlushMs = 1_000;
let crashed = false;

const { context, configure, exitCode, flush } = createContext({
  env: readEnvironment(),
  stdout: process.stdout,
  stderr: process.stderr,
  onStop,
});

process.on('uncaughtException', (thrown) => crash(thrown));
process.on('unhandledRejection', (thrown) => crash(thrown));

let unwritten: NodeJS.ErrnoException | undefined;
process.stdout.on('error', (thrown: NodeJS.ErrnoException) => {
  // A reader that has had enough (`| head`) is no failure.
  if (thrown.code !== 'EPIPE') unwritten ??= thrown;
});

const code = await run(process.argv.slice(2), context);
await flushed();
process.exit(unwritten ? await explain(unwrittenOutput(unwritten), { words: [], cli: context }) : code);

async function run(words: readonly string[], cli: CliContext): Promise<number> {
  try {
    await dispatch(words, cli);
    return exitCode();
  } catch (thrown) {
    return await explain(thrown, { words, cli });
  }
}

async function dispatch(words: readonly string[], cli: CliContext): Promise<void> {
  if (words.includes('sidecar')) {
    // Sidecars are many and small, so they do without commander; it still explains a command line that is wrong.
    const { runQuickly } = await import('./commands/sidecar.ts');
    if (await runQuickly(words, { context: cli, configure })) return;
  }
  const { createProgram } = await import('./program.ts');
  const only = words.find((word) => !word.startsWith('-'));
  const program = await createProgram({ context: cli, configure, only });
  await program.parseAsync(words as string[], { from: 'user' });
}

/** Says what went wrong; what commander throws is either help that it has shown, or wrong usage. */
async function explain(
  thrown: unknown,
  { words, cli }: { words: readonly string[]; cli: CliContext },
): Promise<number> {
  let failure = thrown;
  if (String((thrown as { code?: unknown })?.code).startsWith('commander.')) {
    const { exitCodeOfHelp, usageFailure } = await import('./program.ts');
    const error = thrown as Parameters<typeof usageFailure>[0];
    const helped = exitCodeOfHelp(error);
    if (helped !== undefined) return helped;
    failure = usageFailure(error, words);
  }
  cli.output.error(failure);
  return exitCodeOf(failure);
}

/** The first SIGINT or SIGTERM asks to stop, the second one forces it. A terminal that went away (SIGHUP) stops nothing. */
function onStop(stop: () => void, reload: () => boolean): void {
  let asked: number | undefined;
  const signalled = (): void => {
    const now = context.clock.monotonic();
    if (asked !== undefined) {
      if (now - asked < sameKeystrokeMs) return;
      context.output.warn('stopped by force: what was still running is cut');
      process.exit(exitCodes.failed);
    }
    asked = now;
    stop();
  };
  process.on('SIGINT', signalled);
  process.on('SIGTERM', signalled);
  process.on('SIGHUP', () => {
    if (!reload()) context.output.say('SIGHUP: nothing to reload, changes arrive by themselves');
  });
}

/** A pipe takes 64 KiB at a time and an exit drops what still waits: whoever reads stdout gets all of it, stderr is given a second. */
async function flushed(): Promise<void> {
  const written = (stream: NodeJS.WriteStream): Promise<void> =>
    new Promise((resolve) => {
      if (stream.destroyed || stream.writableLength === 0) return resolve();
      stream.once('close', resolve);
      stream.write('', () => resolve());
    });
  const late = new Promise<void>((resolve) => setTimeout(resolve, longestFlushMs).unref());
  await Promise.all([written(process.stdout), Promise.race([written(process.stderr), late])]);
  // What failed is told in an event of its own, a moment later.
  await new Promise((resolve) => setImmediate(resolve));
}

function unwrittenOutput(cause: NodeJS.ErrnoException): Error {
  const reason = cause.code === 'ENOSPC' ? 'the disk is full' : (cause.code ?? cause.message);
  return fail('CLI_OUTPUT_UNWRITABLE', { reason }, { cause });
}

/** Something that no code of ours expected: said once, what can be flushed is, then the end, since what is left cannot be trusted. */
function crash(thrown: unknown): void {
  if (crashed) return;
  crashed = true;
  context.output.error(thrown);
  const end = (): never => process.exit(exitCodes.failed);
  setTimeout(end, longestFlushMs);
  void flush().then(end);
}

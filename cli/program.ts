// The tree of commands, for running, for help, for completion and for docs/cli.md. Command files only declare; what an action needs
// it imports when it runs, so that a sidecar never pays for what a server needs.
import { Command, type CommanderError, Help, Option } from 'commander';
import { suggest } from '#base/suggest';
import { commands } from './commands.ts';
import type { CliContext, GlobalOptions } from './context.ts';
import { fail } from './errors.ts';
import { type ExitCode, exitCodes } from './exit-codes.ts';
import { examplesFor } from './help.ts';
import { formats } from './output.ts';

export { examples, examplesFor } from './help.ts';

export interface ProgramOptions {
  readonly context: CliContext;
  /** Told the global options before any action runs. */
  readonly configure?: (options: GlobalOptions) => Promise<void>;
  /** Declares only this command, when there is one by that name. */
  readonly only?: string | undefined;
}

/** The whole program, nothing run yet. Errors of usage and requests for help are thrown as `CommanderError`. */
export async function createProgram({ context, configure, only }: ProgramOptions): Promise<Command> {
  const program = new Command('postern')
    .description(
      'A zero-trust service mesh for any machine: SPIFFE identities, mTLS sidecars and Casbin policy on every hop',
    )
    .usage('[options] <command>')
    .addOption(new Option('--home <dir>', 'where state and the admin identity live (POSTERN_HOME, ~/.postern)'))
    .addOption(new Option('--server <url>', 'the control plane (POSTERN_SERVER, the server of the home)'))
    .addOption(new Option('-o, --output <format>', 'how results are printed').choices(formats))
    .option('--no-color', 'no colours (NO_COLOR; also when the output is no terminal)')
    .option('-q, --quiet', 'results only, no talk')
    .option('--debug', 'show stacks of failures')
    .option('-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .helpCommand(false)
    .exitOverride()
    .showSuggestionAfterError(true)
    .configureOutput({
      writeOut: (text) => context.output.raw(text),
      writeErr: (text) => context.output.say(text),
      outputError: () => undefined,
    })
    .configureHelp({ formatHelp });
  program.hook('preAction', () => configure?.(program.opts()));
  program.action(async () => {
    const { showVersion } = await import('./commands/version.ts');
    const words = program.args;
    if (words.length > 0) throw unknownCommand(words[0]!, program);
    if (program.opts().version === true) showVersion(context);
    else context.output.raw(firstCommands);
  });
  const found = commands.filter(({ name }) => name === only);
  for (const { load } of found.length > 0 ? found : commands) (await load()).register(program, context);
  // Groups show their help by themselves; a `help` word beside every command only makes lists longer.
  for (const command of program.commands) if (command.commands.length > 0) command.helpCommand(false);
  program.allowExcessArguments(true);
  return program;
}

/** What is wrong with the command line, as a failure of ours with a hint. */
export function usageFailure(error: CommanderError, words: readonly string[]): Error {
  const [first = '', second = ''] = error.message.split('\n');
  const near = /\(Did you mean (?:one of )?(.*)\?\)/.exec(second)?.[1];
  const [problem = '', choices] = first
    .replace(/^error: /, '')
    .replaceAll("'", '')
    .split(/\. Allowed choices are |\.$/);
  const fix = near ? `did you mean ${near}?` : choices ? `the choices: ${choices}` : `see: ${helpFor(words)}`;
  return fail('CLI_USAGE', { problem, fix }, { cause: error });
}

/** The exit code when help was shown: asked for, or because a group was named without a command. */
export function exitCodeOfHelp(error: CommanderError): ExitCode | undefined {
  if (error.code === 'commander.helpDisplayed') return exitCodes.ok;
  return error.code === 'commander.help' ? exitCodes.usage : undefined;
}

/** The help of the command that the words begin with. */
function helpFor(words: readonly string[]): string {
  const end = words.findIndex((word) => !/^[a-z][a-z-]*$/.test(word));
  const [first, second] = words.slice(0, end < 0 ? undefined : end);
  const known = commands.some(({ name }) => name === first);
  const group = first !== undefined && ['ca', 'token', 'identity', 'policy', 'audit', 'proxy'].includes(first);
  return ['postern', known && first, known && group && second, '--help'].filter(Boolean).join(' ');
}

function unknownCommand(word: string, program: Command): Error {
  const near = suggest(
    word,
    program.commands.map((command) => command.name()),
  );
  return fail('CLI_USAGE', {
    problem: `unknown command ${word}`,
    fix: near ? `did you mean: postern ${near}` : 'see: postern --help',
  });
}

const firstCommands = `Postern, a zero-trust service mesh for any machine.

  postern demo                                    see all of it on this machine, in a minute
  postern ca init --trust-domain example.org      make the certificate authority
  postern server                                  run the control plane
  postern token create web                        let one instance of the service web join
  postern sidecar --token TOKEN --app H:P         put a sidecar beside it

All commands: postern --help
`;

function formatHelp(command: Command, helper: Help): string {
  const lines = examplesFor(command);
  const usual = Help.prototype.formatHelp.call(helper, command, helper);
  return lines.length > 0 ? `Examples:\n${lines.map((line) => `  ${line}\n`).join('')}\n${usual}` : usual;
}

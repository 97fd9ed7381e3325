// `postern completion`: what a shell needs to complete commands, options and live names. Made from the tree of commands, so never out of step.
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { examples } from '../help.ts';

/** A name that is not there by then is not worth waiting for. */
const budgetMs = 200;

export function register(program: Command, context: CliContext): void {
  const command = program
    .command('completion')
    .description('print the completion script of a shell')
    .argument('<SHELL>', 'bash, zsh or fish')
    .action((shell: string) => runCompletion(context, shell));
  examples(
    command,
    'source <(postern completion bash)',
    'postern completion zsh > ~/.zfunc/_postern   # a folder of $fpath',
    'postern completion fish > ~/.config/fish/completions/postern.fish',
  );
  program
    .command('complete-names', { hidden: true })
    .argument('<WHAT>')
    .action((what: string) => runNames(context, what));
}

async function runCompletion(context: CliContext, shell: string): Promise<void> {
  const [{ createProgram }, { completionScript }] = await Promise.all([
    import('../program.ts'),
    import('../completion.ts'),
  ]);
  context.output.raw(completionScript(shell, await createProgram({ context })));
}

/** Names, one a line, of what the control plane knows; none when it is slow or away. */
async function runNames(context: CliContext, what: string): Promise<void> {
  const { liveNames } = await import('../completion-names.ts');
  const late = new Promise<readonly string[]>((resolve) => context.clock.after(budgetMs, () => resolve([])));
  const names = await Promise.race([liveNames(context, what).catch(() => []), late]);
  context.output.raw(names.map((name) => `${name}\n`).join(''));
}

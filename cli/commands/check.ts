// `postern check`: is everything well, and what to do about what is not. One line for each question, grouped; exit 3 when one fails.
import type { Command } from 'commander';
import type { CheckCategory, CheckResult } from '../checks/check.ts';
import type { RunOptions } from '../checks/run.ts';
import type { CliContext } from '../context.ts';
import { exitCodes } from '../exit-codes.ts';
import { examples } from '../help.ts';
import type { Tone } from '../paint.ts';

export function register(program: Command, context: CliContext): void {
  const command = program
    .command('check')
    .description('check home, certificates, clock, server, proxies and audit; exit 3 when a check fails')
    .option('--pre', 'only what can be checked before anything is set up')
    .option('--gateway <FILE>', 'only whether a gateway would take this file')
    .action((options: { pre?: boolean; gateway?: string }) =>
      runCheck(context, { pre: options.pre ?? false, gatewayFile: options.gateway }),
    );
  examples(
    command,
    'postern check',
    'postern check --pre',
    'postern check --gateway edge.yaml',
    'postern check -o json | jq .success',
  );
}

async function runCheck(context: CliContext, o: RunOptions): Promise<void> {
  const { output } = context;
  const { runChecks } = await import('../checks/run.ts');
  const stop = output.spin('checking');
  const categories = await runChecks(context, o).finally(stop);
  const results = categories.flatMap(({ checks }) => checks.map(({ result }) => result));
  const success = !results.includes('error');
  output.data({ success, categories }, formatChecks(categories, output.paint));
  if (!success) context.exitWith(exitCodes.denied);
}

const marks: Readonly<Record<CheckResult, readonly [mark: string, tone: Tone]>> = {
  success: ['√', 'good'],
  warning: ['‼', 'warn'],
  error: ['×', 'bad'],
};

/** Categories with their checks, a mark before each; the reason and a hint under what is not well. */
function formatChecks(categories: readonly CheckCategory[], paint: (tone: Tone, text: string) => string): string {
  const blocks = categories.map(({ categoryName, checks }) => {
    const lines = checks.flatMap(({ description, result, error, hint }) => {
      const [mark, tone] = marks[result];
      const more = [error, hint && `${paint('warn', 'hint:')} ${hint}`].filter(
        (text) => text !== undefined && text !== '',
      );
      return [`${paint(tone, mark)} ${description}`, ...more.map((text) => `    ${text}`)];
    });
    return `${paint('bold', categoryName)}\n${lines.join('\n')}\n`;
  });
  const all = categories.flatMap(({ checks }) => checks);
  const count = (result: CheckResult): number => all.filter((one) => one.result === result).length;
  const verdict = count('error') > 0 ? paint('bad', '×') : paint('good', '√');
  return `${blocks.join('\n')}\n${verdict} ${count('success')} well, ${count('warning')} to look at, ${count('error')} failed\n`;
}

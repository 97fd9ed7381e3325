// `postern policy`: everything there is to ask about policies. With --policy it works on files alone; without, on the policy in force.
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { examples } from '../help.ts';
import { registerAssert } from './policy/assert.ts';
import { registerCheck } from './policy/check.ts';
import { registerDiff } from './policy/diff.ts';
import { registerExport } from './policy/export.ts';
import { registerHistory } from './policy/history.ts';
import { registerImport } from './policy/import.ts';
import { registerLint } from './policy/lint.ts';
import { registerReach } from './policy/reach.ts';
import { registerReplay } from './policy/replay.ts';
import { registerShadowReport } from './policy/shadow-report.ts';
import { registerSuggest } from './policy/suggest.ts';
import { registerTest } from './policy/test.ts';
import { registerWhy } from './policy/why.ts';

export function register(program: Command, context: CliContext): void {
  const policy = program.command('policy').description('check, test, explain, compare and export policies');
  registerCheck(policy, context);
  registerTest(policy, context);
  registerWhy(policy, context);
  registerReach(policy, context);
  registerLint(policy, context);
  registerDiff(policy, context);
  registerAssert(policy, context);
  registerReplay(policy, context);
  registerSuggest(policy, context);
  registerShadowReport(policy, context);
  registerHistory(policy, context);
  registerExport(policy, context);
  registerImport(policy, context);
  examples(policy, 'postern policy check policies/', 'postern policy why checkout payments POST /charges');
}

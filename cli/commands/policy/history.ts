// `postern policy history` and `postern policy rollback`: every change of what is in force, and the way back. A way back is a new change.
import type { Command } from 'commander';
import { type ApplyReply, type PolicyVersion, wireVersion } from '#wire';
import type { CliContext } from '../../context.ts';
import { fail } from '../../errors.ts';
import { examples } from '../../help.ts';
import { utc } from '../../when.ts';
import { showChanges } from '../apply.ts';

export function registerHistory(policy: Command, context: CliContext): void {
  const history = policy
    .command('history')
    .description('list the versions of what is in force, the newest first')
    .action(() => runHistory(context));
  examples(history, 'postern policy history', 'postern policy diff rev:1764000000000 live');
  const rollback = policy
    .command('rollback')
    .description('make all resources what they were at a revision')
    .argument('<REVISION>', 'from postern policy history')
    .option('--dry-run', 'check everything on the server and change nothing')
    .action((revision: string, options: { dryRun?: boolean }) => runRollback(context, revision, options));
  examples(rollback, 'postern policy rollback 1764000000000 --dry-run', 'postern policy rollback 1764000000000');
}

async function runHistory(context: CliContext): Promise<void> {
  const { versions } = await context.withApi((api) =>
    api.call<{ versions: readonly PolicyVersion[] }>({ method: 'GET', path: '/v1/versions' }),
  );
  context.output.data(
    { versions },
    {
      columns: ['REVISION', 'TIME', 'BY', 'CHANGES'],
      rows: versions.map(({ revision, at, by, changes }) => [revision, utc(at), by, changedText(changes)]),
      empty: 'no version is kept yet: every change from now on is',
    },
  );
}

function changedText({ put, removed, more }: PolicyVersion['changes']): string {
  const names = [...put, ...removed.map((name) => `-${name}`)];
  const left = names.length - 6 + more;
  return `${names.slice(0, 6).join(', ')}${left > 0 ? ` and ${left} more` : ''}`;
}

async function runRollback(context: CliContext, text: string, { dryRun = false }: { dryRun?: boolean }): Promise<void> {
  const revision = Number(text.replace(/^rev:/, ''));
  if (!Number.isSafeInteger(revision) || revision < 1) {
    throw fail('CLI_USAGE', { problem: `${text} is not a revision`, fix: 'see: postern policy history' });
  }
  const body = { version: wireVersion, revision, dryRun };
  const reply = await context.withApi((api) => api.call<ApplyReply>({ method: 'POST', path: '/v1/rollback', body }));
  await showChanges(context, reply, dryRun);
  if (!dryRun) context.output.next('postern status', 'shows which proxies hold it');
}

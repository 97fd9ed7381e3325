// `postern policy export`: the same rules for any Casbin.
import type { Command } from 'commander';
import type { CliContext } from '../../context.ts';
import { fail } from '../../errors.ts';
import { examples } from '../../help.ts';
import { makeFolder, type PolicySource, readPolicy, writeTextFile } from '../../policy-source.ts';
import { fromWhere } from './source-options.ts';

type ExportOptions = PolicySource & { readonly out?: string; readonly format: string };

export function registerExport(policy: Command, context: CliContext): void {
  const exported = fromWhere(policy.command('export'))
    .description('write the rules for other engines')
    .requiredOption('--format <FORMAT>', 'casbin: a model and policy rows that any Casbin answers alike')
    .option('--out <DIR>', 'write model.conf and policy.csv there')
    .action((options: ExportOptions) => runExport(context, options));
  examples(
    exported,
    'postern policy export --format casbin --out casbin/',
    'postern policy export --format casbin -o json',
  );
}

async function runExport(context: CliContext, options: ExportOptions): Promise<void> {
  if (options.format !== 'casbin') {
    throw fail('CLI_USAGE', { problem: `there is no format ${options.format}`, fix: 'write --format casbin' });
  }
  const { set } = await readPolicy(context, options);
  const { exportCasbin } = await import('#policy/casbin');
  const { model, rows, csv } = exportCasbin(set);
  const { output } = context;
  const shadows = set.rules.filter((rule) => rule.shadow).length;
  if (shadows > 0) output.warn(`shadow rules are never enforced and so not exported: ${shadows}`);
  if (options.out === undefined) return output.data({ model, rows }, `${model}\n# policy.csv\n${csv}`);
  makeFolder(options.out);
  const files = [writeTextFile(options.out, 'model.conf', model), writeTextFile(options.out, 'policy.csv', csv)];
  output.data({ files, rows: rows.length }, files.join('\n'));
}

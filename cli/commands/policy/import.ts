// `postern policy import`: the rules of a Casbin model and rows that were exported from here, as a policy file. Applies nothing.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { messageOf } from '#base/error';
import type { PolicyRule } from '#wire';
import type { CliContext } from '../../context.ts';
import { fail } from '../../errors.ts';
import { examples } from '../../help.ts';

export function registerImport(policy: Command, context: CliContext): void {
  const command = policy
    .command('import')
    .description('read rules back from what was exported; rows of another hand are refused')
    .argument('<DIR>', 'a folder with model.conf and policy.csv')
    .requiredOption('--format <FORMAT>', 'casbin')
    .action((folder: string, options: { readonly format: string }) => runImport(context, folder, options));
  examples(command, 'postern policy import casbin/ --format casbin > imported.yaml');
}

async function runImport(context: CliContext, folder: string, { format }: { readonly format: string }): Promise<void> {
  if (format !== 'casbin')
    throw fail('CLI_USAGE', { problem: `there is no format ${format}`, fix: 'write --format casbin' });
  const { importCasbin } = await import('#policy/casbin');
  const [model, csv] = ['model.conf', 'policy.csv'].map((name) => readText(join(folder, name)));
  const { rules, groups } = importCasbin({ model: model!, csv: csv! });
  const resources = [...policiesOf(rules), ...groupsOf(groups)];
  if (context.output.format !== 'table') return context.output.data({ resources }, '');
  // JSON documents are YAML, and need no other spelling.
  context.output.raw(resources.map((resource) => `${JSON.stringify(resource, null, 2)}\n`).join('---\n'));
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (thrown) {
    throw fail('CLI_USAGE', {
      problem: `${path} cannot be read: ${messageOf(thrown)}`,
      fix: 'name the folder that export wrote',
    });
  }
}

/** Rules of one policy for different services become policies of their own, so that each keeps its place. */
function policiesOf(rules: readonly PolicyRule[]) {
  const policies = new Map<string, { name: string; to: readonly string[]; rules: object[] }>();
  const names = new Map<string, number>();
  for (const { policy, to, ...rule } of rules) {
    const key = JSON.stringify([policy, to]);
    let found = policies.get(key);
    if (!found) {
      const turn = (names.get(policy) ?? 0) + 1;
      names.set(policy, turn);
      found = { name: turn === 1 ? policy : `${policy}-${turn}`, to, rules: [] };
      policies.set(key, found);
    }
    found.rules.push(rule);
  }
  return [...policies.values()].map((one) => ({ kind: 'Policy', ...one }));
}

function groupsOf(groups: Readonly<Record<string, readonly string[]>>) {
  return Object.entries(groups).flatMap(([name, members]) =>
    members.length > 0 ? [{ kind: 'Group', name, members }] : [],
  );
}

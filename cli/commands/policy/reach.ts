// `postern policy who-can` and `postern policy can`: exact sets of callers and of calls, over every request there can be.
import type { Command } from 'commander';
import type { Reach } from '#policy/tools';
import type { PolicySet } from '#wire';
import type { CliContext } from '../../context.ts';
import { examples } from '../../help.ts';
import { idOf, readMethod, readPath } from '../../policy-request.ts';
import { type PolicySource, readPolicy } from '../../policy-source.ts';
import { needsText, setText } from '../../policy-words.ts';
import type { Table } from '../../table.ts';
import { fromWhere } from './source-options.ts';

export function registerReach(policy: Command, context: CliContext): void {
  const who = fromWhere(policy.command('who-can'))
    .description('list everybody who can make a call')
    .argument('<METHOD>', 'such as GET')
    .argument('<PATH>', 'a path, or a template such as /charges/{id}')
    .argument('<TO>', 'the service that is called')
    .action((method: string, path: string, to: string, options: PolicySource) =>
      runWhoCan(context, { method, path, to }, options),
    );
  examples(
    who,
    'postern policy who-can POST /charges payments',
    'postern policy who-can GET /admin/** payments -o json',
  );
  const can = fromWhere(policy.command('can'))
    .description('list everything that a service can call')
    .argument('<FROM>', 'who calls: a service or a SPIFFE ID')
    .action((from: string, options: PolicySource) => runCan(context, from, options));
  examples(can, 'postern policy can checkout', 'postern policy can checkout --policy policies/ -o json');
}

async function runWhoCan(
  context: CliContext,
  asked: { readonly method: string; readonly path: string; readonly to: string },
  options: PolicySource,
): Promise<void> {
  const { whoCan } = await import('#policy/tools');
  const [method, path] = [readMethod(asked.method), await readPath(asked.path)];
  const { set, trustDomain } = await readPolicy(context, options);
  const to = idOf(asked.to, trustDomain);
  await warnOfModels(context, set, to);
  const found = whoCan(set, { to, method, path });
  const rows = found.map((reach) => [setText(reach.from, trustDomain), setText(reach.paths, ''), ...needsCells(reach)]);
  const empty = `nobody can ${method} ${path} on ${asked.to}`;
  const table: Table = { columns: ['FROM', 'PATHS', 'WHEN', 'RULES'], rows, empty };
  context.output.data({ call: { method, path, to }, callers: found, ...(await modelsIn(set, to)) }, table);
}

async function runCan(context: CliContext, asked: string, options: PolicySource): Promise<void> {
  const { canReach } = await import('#policy/tools');
  const { set, trustDomain } = await readPolicy(context, options);
  const from = idOf(asked, trustDomain);
  await warnOfModels(context, set);
  const found = canReach(set, from);
  const rows = found.map((reach) => [
    setText(reach.to, trustDomain),
    setText(reach.methods, ''),
    setText(reach.paths, ''),
    ...needsCells(reach),
  ]);
  const table: Table = {
    columns: ['TO', 'METHODS', 'PATHS', 'WHEN', 'RULES'],
    rows,
    empty: `${asked} can call nothing`,
  };
  context.output.data({ from, calls: found, ...(await modelsIn(set)) }, table);
}

/** Which callers a Casbin model lets in is for casbin to say, one request at a time: the sets here are those of the rules. */
async function modelsIn(
  set: PolicySet,
  to?: string,
): Promise<{ models?: readonly { name: string; to: readonly string[] }[] }> {
  if (!set.models) return {};
  const { modelsFor } = await import('#policy');
  const found = modelsFor(set, to).map((model) => ({ name: model.name, to: model.to }));
  return found.length > 0 ? { models: found } : {};
}

async function warnOfModels({ output }: CliContext, set: PolicySet, to?: string): Promise<void> {
  for (const { name, to: called } of (await modelsIn(set, to)).models ?? [])
    output.warn(
      `CasbinModel ${name} decides about ${called.join(', ')} too, and is not in these sets; ask: postern policy why`,
    );
}

/** When, and by which rules; a conditional one says what each rule asks for and which denies may take it away. */
function needsCells({ always, rules, unless }: Reach): string[] {
  if (always) return ['always', rules.map(({ rule }) => rule).join(', ')];
  const but = unless.length > 0 ? ` unless ${unless.map(needsText).join(' or ')}` : '';
  return ['sometimes', `${rules.map(needsText).join(' or ')}${but}`];
}

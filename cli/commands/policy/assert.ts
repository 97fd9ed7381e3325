// `postern policy assert`: invariants proved over every request there can be, or broken by one that is shown.
import type { Command } from 'commander';
import type { Proof } from '#policy/tools';
import type { LocatedResource } from '#wire';
import type { CliContext } from '../../context.ts';
import { fail } from '../../errors.ts';
import { exitCodes } from '../../exit-codes.ts';
import { examples } from '../../help.ts';
import { type PolicySource, readFiles, trustDomainOf } from '../../policy-source.ts';
import { fromWhere } from './source-options.ts';

export function registerAssert(policy: Command, context: CliContext): void {
  const command = fromWhere(policy.command('assert'))
    .description('prove assertions over all possible requests, or show a request that breaks them')
    .argument('<FILE...>', 'files or folders with resources of kind Assertion')
    .action((files: string[], options: PolicySource) => runAssert(context, files, options));
  examples(
    command,
    'postern policy assert assertions.yaml --policy policies/',
    'postern policy assert assertions.yaml',
  );
}

async function runAssert(context: CliContext, files: readonly string[], options: PolicySource): Promise<void> {
  const { buildPolicySet, validateResources } = await import('#policy');
  const { proveAssertions } = await import('#policy/tools');
  const given = await shaped(files);
  const asserted = given.filter(({ resource }) => resource.kind === 'Assertion');
  if (asserted.length === 0) {
    throw fail('CLI_USAGE', { problem: `there is no Assertion in ${files.join(', ')}`, fix: 'write kind: Assertion' });
  }
  const base = await policyResources(context, options);
  // Groups that the files bring of their own win over nothing: two of one name are a problem like any other.
  const named = new Set(base.resources.map(keyOf));
  const extra = given.filter((one) => one.resource.kind === 'Group' && !named.has(keyOf(one)));
  const resources = [...base.resources.filter(({ resource }) => resource.kind !== 'Assertion'), ...extra, ...asserted];
  const problems = validateResources(resources);
  if (problems.length > 0) throw fail('CLI_FILES_INVALID', { count: problems.length }, { problems });
  const { trustDomain } = base;
  const set = buildPolicySet({ resources, trustDomain, revision: 0 });
  const proofs = proveAssertions({ resources, set, trustDomain });
  const broken = proofs.filter(({ holds }) => !holds);
  context.output.data({ ok: broken.length === 0, proofs }, await proofsText(context, proofs));
  if (broken.length > 0) context.exitWith(exitCodes.failed);
}

/** Assertion files may name groups of the policy, so their meaning is checked together with it. */
async function shaped(paths: readonly string[]): Promise<readonly LocatedResource[]> {
  const { loadResources } = await import('#config/resources');
  const { resources, problems } = loadResources(paths);
  if (problems.length > 0) throw fail('CLI_FILES_INVALID', { count: problems.length }, { problems });
  return resources;
}

async function policyResources(
  context: CliContext,
  options: PolicySource,
): Promise<{ resources: readonly LocatedResource[]; trustDomain: string }> {
  if (options.policy?.length) {
    const { resources, problems } = await readFiles(options.policy);
    if (problems.length > 0) throw fail('CLI_FILES_INVALID', { count: problems.length }, { problems });
    return { resources, trustDomain: trustDomainOf(context, options) };
  }
  return context.withApi(async (api) => {
    const reply = await api.call<{ resources: readonly LocatedResource[] }>({ method: 'GET', path: '/v1/resources' });
    return { resources: reply.resources, trustDomain: api.trustDomain };
  });
}

function keyOf({ resource: { kind, name } }: LocatedResource): string {
  return `${kind}/${name}`;
}

async function proofsText({ output }: CliContext, proofs: readonly Proof[]): Promise<string> {
  const { breachText } = await import('#policy/tools');
  return proofs
    .map(({ assertion, kind, pointer, source, holds, counterexample, fault }) => {
      if (holds) return `${output.paint('good', 'proved')} ${assertion} ${pointer.slice(1)}`;
      const place = source ? `${source.file}:${source.line}:${source.column}: ` : '';
      const why = counterexample ? breachText(kind, counterexample) : fault;
      return `${output.paint('bad', 'BROKEN')} ${place}${assertion}: ${why}`;
    })
    .join('\n');
}

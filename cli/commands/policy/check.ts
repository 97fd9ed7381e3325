// `postern policy check`: every problem of policy files, of shape, of meaning and of what they assert.
import type { Command } from 'commander';
import type { CliContext } from '../../context.ts';
import { fail } from '../../errors.ts';
import { exitCodes } from '../../exit-codes.ts';
import { examples } from '../../help.ts';
import { type PolicySource, readFiles, trustDomainOf } from '../../policy-source.ts';

export function registerCheck(policy: Command, context: CliContext): void {
  const check = policy
    .command('check')
    .description('find every problem in policy files')
    .argument('<PATH...>', 'files or folders of YAML or JSON')
    .option('--trust-domain <NAME>', 'the trust domain of service names (that of the home, else local)')
    .action((paths: string[], options: PolicySource) => runCheck(context, paths, options));
  examples(check, 'postern policy check policies/', 'postern policy check payments.yaml groups.yaml -o json');
}

async function runCheck(context: CliContext, paths: readonly string[], options: PolicySource): Promise<void> {
  const { output } = context;
  const { resources, problems } = await readFiles(paths);
  const trustDomain = trustDomainOf(context, options);
  const { buildPolicySet, compileProgram, costOfModels } = await import('#policy');
  const { problemsOfProofs, proveAssertions } = await import('#policy/tools');
  const set = problems.length > 0 ? undefined : buildPolicySet({ resources, trustDomain, revision: 0 });
  const found = set ? problemsOfProofs(proveAssertions({ resources, set, trustDomain })) : problems;
  if (!set || found.length > 0) {
    if (output.format !== 'table') output.data({ ok: false, problems: found }, '');
    else output.error(fail('CLI_FILES_INVALID', { count: found.length }, { problems: found }));
    return context.exitWith(exitCodes.failed);
  }
  compileProgram(set);
  const models = await costOfModels(set, () => context.clock.monotonic());
  const ofKind = (kind: string): number => resources.filter(({ resource }) => resource.kind === kind).length;
  const counts = {
    policies: ofKind('Policy'),
    rules: set.rules.length,
    groups: ofKind('Group'),
    assertions: ofKind('Assertion'),
  };
  const text = Object.entries(counts).flatMap(([what, count]) => {
    if (what === 'assertions' && count === 0) return [];
    return [`${count} ${count === 1 ? singular[what] : what}`];
  });
  const costs = models.map(
    ({ name, rows, microseconds }) =>
      `\nCasbinModel ${name}: ${rows} rows, about ${microseconds} us of CPU for each decision, at both ends of a call`,
  );
  output.data(
    { ok: true, ...counts, ...(models.length > 0 ? { models } : {}), problems: [] },
    `ok: ${text.join(', ')}${costs.join('')}`,
  );
  output.next(`postern apply -f ${paths.join(' ')}`);
}

const singular: Readonly<Record<string, string>> = {
  policies: 'policy',
  rules: 'rule',
  groups: 'group',
  assertions: 'assertion',
};

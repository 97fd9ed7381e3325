// `postern policy lint`: rules that do not do what somebody wrote them for, proved, with a request that shows each.
import type { Command } from 'commander';
import type { Finding } from '#policy/tools';
import type { IdentityStatus } from '#wire';
import type { CliContext } from '../../context.ts';
import { exitCodes } from '../../exit-codes.ts';
import { examples } from '../../help.ts';
import { idOf } from '../../policy-request.ts';
import { type PolicySource, readPolicy } from '../../policy-source.ts';
import { requestText } from '../../policy-words.ts';
import { collect, fromWhere } from './source-options.ts';

type LintOptions = PolicySource & { readonly service: readonly string[]; readonly ignore: readonly string[] };

export function registerLint(policy: Command, context: CliContext): void {
  const command = fromWhere(policy.command('lint'))
    .description('find rules that are shadowed, contradictory, unreachable, over-broad or about nobody')
    .option(
      '--service <NAME>',
      'with --policy: a service that exists, to find names that do not; repeatable',
      collect,
      [],
    )
    .option('--ignore <CODE>', 'leave out findings of this code, such as PL003; repeatable', collect, [])
    .action((options: LintOptions) => runLint(context, options));
  examples(command, 'postern policy lint', 'postern policy lint --policy policies/ --service web --service payments');
}

async function runLint(context: CliContext, options: LintOptions): Promise<void> {
  const { lintPolicy } = await import('#policy/tools');
  const { set, trustDomain } = await readPolicy(context, options);
  const known = await knownServices(context, options, trustDomain);
  const findings = lintPolicy(set, known ? { known } : {}).filter(({ code }) => !options.ignore.includes(code));
  context.output.data(
    { findings },
    findings.length > 0 ? findingsText(context, findings, trustDomain) : 'ok: nothing found',
  );
  if (findings.some(({ severity }) => severity === 'warning')) context.exitWith(exitCodes.failed);
}

/** Of the live mesh every identity ever issued; of files only what was named; `undefined` when nothing is known. */
async function knownServices(
  context: CliContext,
  { policy, service }: LintOptions,
  trustDomain: string,
): Promise<ReadonlySet<string> | undefined> {
  if (service.length > 0) return new Set(service.map((name) => idOf(name, trustDomain)));
  if (policy?.length) return undefined;
  const { identities } = await context.withApi((api) =>
    api.call<{ identities: readonly IdentityStatus[] }>({ method: 'GET', path: '/v1/identities' }),
  );
  return new Set(identities.map(({ id }) => id));
}

function findingsText({ output }: CliContext, findings: readonly Finding[], trustDomain: string): string {
  const lines = findings.flatMap(({ code, severity, rule, effect, message, source, witness }) => {
    const place = source ? `${source.file}:${source.line}:${source.column}: ` : '';
    const shown = witness ? [`  such as ${requestText(witness, trustDomain)}`] : [];
    return [
      `${place}${output.paint(severity === 'note' ? 'dim' : 'warn', code)} ${effect} ${rule}: ${message}`,
      ...shown,
    ];
  });
  return [...lines, `${findings.length} found`].join('\n');
}

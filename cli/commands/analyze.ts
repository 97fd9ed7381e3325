// `postern analyze`: what is in order by itself and still does not do what somebody seems to want, in files or in the mesh that runs. Changes nothing.
import { type Command, Option } from 'commander';
import type { Finding, Severity } from '../analysis.ts';
import type { CliContext } from '../context.ts';
import { fail } from '../errors.ts';
import { exitCodes } from '../exit-codes.ts';
import { examples } from '../help.ts';
import { cleanLine, type Tone } from '../paint.ts';
import { collect } from './policy/source-options.ts';

interface AnalyzeOptions {
  readonly live?: boolean;
  readonly level: Severity;
  readonly failOn: Severity | 'never';
  readonly ignore: readonly string[];
  readonly trustDomain?: string;
}

export function register(program: Command, context: CliContext): void {
  const command = program
    .command('analyze')
    .description(
      'find what does not do what it seems to be for: routes, clusters, policies, certificates; exit 1 on errors',
    )
    .argument('[PATH...]', 'files or folders; without any: the mesh that runs')
    .option('--live', 'with files: as they would be in the mesh that runs')
    .addOption(
      new Option('--level <LEVEL>', 'the least that is shown').choices(['error', 'warning', 'note']).default('note'),
    )
    .addOption(
      new Option('--fail-on <LEVEL>', 'the least that makes it exit with 1')
        .choices(['error', 'warning', 'note', 'never'])
        .default('error'),
    )
    .option('--ignore <CODE>', 'leave out findings of this code, such as PT015; repeatable', collect, [])
    .option('--trust-domain <NAME>', 'with files: the trust domain of service names (that of the home, else local)')
    .action((paths: readonly string[], options: AnalyzeOptions) => runAnalyze(context, paths, options));
  examples(
    command,
    'postern analyze',
    'postern analyze mesh/ --fail-on warning   # before it is applied, in CI',
    'postern analyze mesh/payments.yaml --live',
    'postern analyze -o json | jq ".findings[].code"',
  );
}

async function runAnalyze(context: CliContext, files: readonly string[], options: AnalyzeOptions): Promise<void> {
  const { live = false, level, failOn, ignore, trustDomain } = options;
  if (live && files.length === 0)
    throw fail('CLI_USAGE', { problem: '--live goes with files', fix: 'without files it is always live' });
  const { analyze, severities } = await import('../analysis.ts');
  const given = trustDomain === undefined ? {} : { trustDomain };
  const all = (await analyze(context, { files, live, ...given })).filter(({ code }) => !ignore.includes(code));
  const isAtLeast = ({ severity }: Finding, least: Severity): boolean =>
    severities.indexOf(severity) <= severities.indexOf(least);
  const findings = all.filter((one) => isAtLeast(one, level));
  const count = (of: Severity): number => all.filter(({ severity }) => severity === of).length;
  const summary = { errors: count('error'), warnings: count('warning'), notes: count('note') };
  context.output.data({ findings, summary }, findingsText(context, findings, summary));
  if (failOn !== 'never' && all.some((one) => isAtLeast(one, failOn))) context.exitWith(exitCodes.failed);
  if (findings.length > 0) context.output.hint('what each code means: docs/analyze.md (PT) and docs/policy.md (PL)');
}

const tones: Readonly<Record<Severity, Tone>> = { error: 'bad', warning: 'warn', note: 'dim' };

/** `mesh/all.yaml:12:5: warning PT003 VirtualService payments: ...`, and what to do about it. */
function findingsText(
  { output }: CliContext,
  findings: readonly Finding[],
  { errors, warnings, notes }: { readonly errors: number; readonly warnings: number; readonly notes: number },
): string {
  const total = errors + warnings + notes;
  if (total === 0) return output.paint('good', 'ok: nothing found');
  const lines = findings.flatMap(({ code, severity, subject, message, hint, pointer, file, line, column }) => {
    const place = file === undefined ? pointer : [file, line, column].filter((part) => part !== undefined).join(':');
    const where = place ? `${output.paint('bold', cleanLine(place))}: ` : '';
    const text = `${where}${output.paint(tones[severity], `${severity} ${code}`)} ${cleanLine(subject)}: ${cleanLine(message)}`;
    return [text, ...(hint ? [`  ${cleanLine(hint)}`] : [])];
  });
  const counts = [
    [errors, 'error'],
    [warnings, 'warning'],
    [notes, 'note'],
  ] as const;
  const words = counts
    .filter(([count]) => count > 0)
    .map(([count, word]) => `${count} ${word}${count === 1 ? '' : 's'}`);
  return [...lines, words.join(', ')].join('\n');
}

// `postern policy`: what is wrong with these files, why would this call be allowed or denied, and the same rules for any Casbin. With
// --policy it works on files alone; without, on the policy in force.
import type { Command } from 'commander';
import type { Explanation, Question, RuleRef } from '#policy';
import type { CliContext } from '../context.ts';
import { fail } from '../errors.ts';
import { exitCodes } from '../exit-codes.ts';
import { examples } from '../help.ts';
import { type PolicySource, readFiles, readPolicy, trustDomainOf } from '../policy-source.ts';

type WhyOptions = PolicySource & { readonly header: readonly string[]; readonly port?: string };
type ExportOptions = PolicySource & { readonly out?: string };

export function register(program: Command, context: CliContext): void {
  const policy = program.command('policy').description('check, explain and export policies');
  const check = policy
    .command('check')
    .description('find every problem in policy files')
    .argument('<PATH...>', 'files or folders of YAML or JSON')
    .option('--trust-domain <NAME>', 'the trust domain of service names (that of the home, else local)')
    .action((paths: string[], options: PolicySource) => runCheck(context, paths, options));
  examples(check, 'postern policy check policies/', 'postern policy check payments.yaml groups.yaml -o json');
  const why = fromWhere(policy.command('why'))
    .description('say whether a call is allowed, and which rule decides')
    .argument('<FROM>', 'who calls: a service or a SPIFFE ID')
    .argument('<TO>', 'the service that is called')
    .argument('<METHOD>', 'such as GET')
    .argument('<PATH>', 'such as /charges/7')
    .option('--header <NAME:VALUE>', 'a header of the request; repeatable', collect, [])
    .option('--port <N>', 'the app port that is called')
    .action((from: string, to: string, method: string, path: string, options: WhyOptions) =>
      runWhy(context, { from, to, method, path }, options),
    );
  examples(
    why,
    'postern policy why checkout payments POST /charges',
    'postern policy why web payments GET /reports/7 --header x-env:prod --port 8080 --policy policies/',
  );
  const exported = fromWhere(policy.command('export'))
    .description('write the rules for other engines')
    .requiredOption('--format <FORMAT>', 'casbin: a model and policy rows that any Casbin answers alike')
    .option('--out <DIR>', 'write model.conf and policy.csv there')
    .action((options: ExportOptions & { format: string }) => runExport(context, options));
  examples(
    exported,
    'postern policy export --format casbin --out casbin/',
    'postern policy export --format casbin -o json',
  );
  examples(policy, 'postern policy check policies/', 'postern policy why checkout payments POST /charges');
}

async function runCheck(context: CliContext, paths: readonly string[], options: PolicySource): Promise<void> {
  const { output } = context;
  const { resources, problems } = await readFiles(paths);
  if (problems.length > 0) {
    if (output.format !== 'table') output.data({ ok: false, problems }, '');
    else output.error(fail('CLI_FILES_INVALID', { count: problems.length }, { problems }));
    return context.exitWith(exitCodes.failed);
  }
  const { buildPolicySet, compileProgram } = await import('#policy');
  const set = buildPolicySet({ resources, trustDomain: trustDomainOf(context, options), revision: 0 });
  compileProgram(set);
  const counts = {
    policies: resources.filter(({ resource }) => resource.kind === 'Policy').length,
    rules: set.rules.length,
    groups: Object.keys(set.groups).length,
  };
  const text = Object.entries(counts).map(([what, count]) => `${count} ${count === 1 ? singular[what] : what}`);
  output.data({ ok: true, ...counts, problems: [] }, `ok: ${text.join(', ')}`);
  output.next(`postern apply -f ${paths.join(' ')}`);
}

const singular: Readonly<Record<string, string>> = { policies: 'policy', rules: 'rule', groups: 'group' };

async function runWhy(
  context: CliContext,
  asked: { readonly from: string; readonly to: string; readonly method: string; readonly path: string },
  options: WhyOptions,
): Promise<void> {
  const { explain } = await import('#policy');
  const headers = readHeaders(options.header);
  const { method, path, port } = await readRequest(asked, options.port);
  const { set, trustDomain } = await readPolicy(context, options);
  const { parseSpiffeId, spiffeIdOf } = await import('#spiffe');
  const idOf = (text: string): string =>
    (text.startsWith('spiffe://') ? parseSpiffeId(text) : spiffeIdOf({ trustDomain, service: text })).uri;
  const question: Question = {
    from: idOf(asked.from),
    to: idOf(asked.to),
    method,
    path,
    ...(port === undefined ? {} : { port }),
    headers: (name) => headers.get(name) ?? [],
  };
  const explanation = explain(set, question);
  const shown = { from: question.from, to: question.to, method, path, port, headers: Object.fromEntries(headers) };
  context.output.data({ question: shown, ...explanation }, explanationText(context, explanation, question));
  if (explanation.decision.effect === 'deny') context.exitWith(exitCodes.denied);
}

async function runExport(context: CliContext, options: ExportOptions & { format: string }): Promise<void> {
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
  const { makeFolder, writeTextFile } = await import('../policy-source.ts');
  makeFolder(options.out);
  const files = [writeTextFile(options.out, 'model.conf', model), writeTextFile(options.out, 'policy.csv', csv)];
  output.data({ files, rows: rows.length }, files.join('\n'));
}

function fromWhere(command: Command): Command {
  return command
    .option('--policy <PATH>', 'use these files or folders instead of the policy in force; repeatable', collect, [])
    .option('--trust-domain <NAME>', 'with --policy: the trust domain of service names (that of the home, else local)');
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

function readHeaders(pairs: readonly string[]): Map<string, string[]> {
  const headers = new Map<string, string[]>();
  for (const pair of pairs) {
    const colon = pair.indexOf(':');
    if (colon < 1)
      throw fail('CLI_USAGE', { problem: `--header ${pair} has no name`, fix: 'write --header name:value' });
    const name = pair.slice(0, colon).trim().toLowerCase();
    headers.set(name, [...(headers.get(name) ?? []), pair.slice(colon + 1).trim()]);
  }
  return headers;
}

async function readRequest(
  { method, path: given }: { readonly method: string; readonly path: string },
  givenPort: string | undefined,
): Promise<{ method: string; path: string; port: number | undefined }> {
  const { pathFault } = await import('#policy');
  if (!/^[A-Z0-9!#$%&'*+.^_`|~-]{1,32}$/.test(method)) {
    throw fail('CLI_USAGE', { problem: `${method} is not a method`, fix: 'write it in upper case, such as GET' });
  }
  const path = given.split('?', 1)[0]!;
  const fault = pathFault(path);
  if (fault) {
    const fix = 'requests are folded to one form, or refused, before policy sees them: write the path in that form';
    throw fail('CLI_USAGE', { problem: `the path ${given}: ${fault}`, fix });
  }
  const port = givenPort === undefined ? undefined : Number(givenPort);
  if (port !== undefined && !(Number.isInteger(port) && port >= 1 && port <= 65_535)) {
    throw fail('CLI_USAGE', { problem: `--port ${givenPort} is not a port`, fix: 'write a number from 1 to 65535' });
  }
  return { method, path, port };
}

function explanationText(
  { output }: CliContext,
  { decision, rule, matched, nearest }: Explanation,
  question: Question,
): string {
  const { paint } = output;
  const verdict = paint(decision.effect === 'allow' ? 'good' : 'bad', decision.effect);
  const call = `${question.from} -> ${question.to}   ${question.method} ${question.path}`;
  const lines = [`${verdict}   ${decision.reason}   revision ${decision.revision}`, `  ${call}`];
  if (rule) lines.push('decided by', `  ${refText(rule)}`);
  if (matched.length > 0) lines.push('also matched', ...matched.map((each) => `  ${refText(each)}`));
  if (nearest.length > 0) {
    lines.push('nearest rules, and what each missed');
    for (const miss of nearest) lines.push(`  ${refText(miss)}`, `    ${miss.missed}: ${miss.reason}`);
  } else if (decision.reason === 'default-deny') lines.push('no rule comes near: what nothing allows is denied');
  return lines.join('\n');
}

function refText({ rule, effect, shadow, source }: RuleRef): string {
  const place = source ? `   ${source.file}:${source.line}:${source.column}` : '';
  return `${effect} ${rule}${shadow ? ' (shadow)' : ''}${place}`;
}

// `postern policy diff`: every request whose answer changes from one policy to another, as sets with a witness each.
import type { Command } from 'commander';
import type { Change } from '#policy/tools';
import type { PolicySet } from '#wire';
import type { CliContext } from '../../context.ts';
import { exitCodes } from '../../exit-codes.ts';
import { examples } from '../../help.ts';
import type { Tone } from '../../paint.ts';
import { readVersion } from '../../policy-source.ts';
import { requestText, setText } from '../../policy-words.ts';

interface DiffOptions {
  readonly trustDomain?: string;
  readonly exitCode?: boolean;
}

export function registerDiff(policy: Command, context: CliContext): void {
  const command = policy
    .command('diff')
    .description('list every request whose answer changes between two policies')
    .argument('<BEFORE>', 'a file, a folder, live (the policy in force) or rev:N (see: postern policy history)')
    .argument('<AFTER>', 'likewise')
    .option('--trust-domain <NAME>', 'the trust domain of service names in files (that of the home, else local)')
    .option('--exit-code', 'exit with 1 when anything changes')
    .action((before: string, after: string, options: DiffOptions) => runDiff(context, [before, after], options));
  examples(command, 'postern policy diff live policies/', 'postern policy diff old.yaml new.yaml --exit-code -o json');
}

async function runDiff(context: CliContext, sides: readonly [string, string], options: DiffOptions): Promise<void> {
  const { diffPolicies } = await import('#policy/tools');
  const { trustDomain } = options;
  const before = await readVersion(context, sides[0], trustDomain);
  const after = await readVersion(context, sides[1], trustDomain);
  const changes = diffPolicies(before.set, after.set);
  const models = modelChanges(before.set, after.set);
  for (const name of models)
    context.output.warn(
      `CasbinModel ${name} is another one: what it answers is not in this list; ask: postern policy test`,
    );
  const text = changes.length > 0 ? changesText(context, changes, after.trustDomain) : 'no request gets another answer';
  context.output.data({ changes, ...(models.length > 0 ? { models } : {}) }, text);
  if (changes.length + models.length > 0 && options.exitCode) context.exitWith(exitCodes.failed);
}

/** Names of the Casbin models that are on one side alone, or say something else there. */
function modelChanges(before: PolicySet, after: PolicySet): string[] {
  const [old, young] = [before, after].map(
    ({ models = [] }) => new Map(models.map(({ source: _, ...model }) => [model.name, JSON.stringify(model)])),
  );
  return [...new Set([...old!.keys(), ...young!.keys()])].filter((name) => old!.get(name) !== young!.get(name));
}

function changesText({ output }: CliContext, changes: readonly Change[], trustDomain: string): string {
  const tones: Readonly<Record<string, Tone>> = { allow: 'good', deny: 'bad' };
  const lines = changes.flatMap(({ was, now, always, from, to, methods, paths, witness, rules }) => {
    const when = always ? '' : ' for some ports or conditions';
    const named = [...new Set([...rules.before, ...rules.after])].slice(0, 6).join(', ');
    return [
      `${was} -> ${output.paint(tones[now]!, now)}${when}`,
      `  from     ${setText(from, trustDomain)}`,
      `  to       ${setText(to, trustDomain)}`,
      `  methods  ${setText(methods, '')}`,
      `  paths    ${setText(paths, '')}`,
      `  rules    ${named}`,
      `  such as  ${requestText(witness, trustDomain)}`,
    ];
  });
  return [...lines, `${changes.length} ${changes.length === 1 ? 'change' : 'changes'}`].join('\n');
}

// `postern apply`: resources from files to the control plane, all or nothing.
import type { Command } from 'commander';
import { type ApplyReply, type LocatedResource, wireVersion } from '#wire';
import type { CliContext } from '../context.ts';
import { fail } from '../errors.ts';
import { examples } from '../help.ts';
import type { Tone } from '../paint.ts';

export function register(program: Command, context: CliContext): void {
  const command = program
    .command('apply')
    .description('apply policies, clusters, virtual services and other resources from files: all of them, or none')
    .requiredOption('-f, --file <PATH...>', 'files or folders of YAML or JSON; - reads standard input')
    .option('--dry-run', 'check everything on the server, show what would change, and change nothing')
    .option('--guard <TIME>', 'refuse what would deny calls that were allowed in that time, such as 24h')
    .option('--yes', 'with --guard: apply all the same')
    .action((options: ApplyOptions) => runApply(context, options));
  examples(
    command,
    'postern apply -f policies/',
    'postern apply -f payments.yaml groups.yaml --dry-run',
    'postern apply -f shop.yaml --dry-run',
    'postern apply -f policies/ --guard 24h',
    'postern get policy web -o yaml | postern apply -f -',
  );
}

interface ApplyOptions {
  readonly file: string[];
  readonly dryRun?: boolean;
  readonly guard?: string;
  readonly yes?: boolean;
}

async function runApply(context: CliContext, { file, dryRun = false, guard, yes }: ApplyOptions): Promise<void> {
  const { output } = context;
  const resources = await readResources(file);
  if (guard !== undefined) {
    const { guardApply } = await import('../apply-guard.ts');
    await guardApply(context, { resources, guard, anyway: yes === true });
  }
  const reply = await context.withApi((api) =>
    api.call<ApplyReply>({ method: 'POST', path: '/v1/resources', body: { version: wireVersion, dryRun, resources } }),
  );
  await showChanges(context, reply, dryRun);
  if (!dryRun) output.next('postern status', 'shows which proxies hold it');
}

/** Lines such as `policy/web created`, with those of the file that would differ, and the revision. */
export async function showChanges(context: CliContext, reply: ApplyReply, dryRun = false): Promise<void> {
  const { output } = context;
  const { paint } = output;
  const { changes, revision } = reply;
  const described = await Promise.all(changes.map(withDiff));
  const tones: Readonly<Record<string, Tone>> = { created: 'good', updated: 'warn', deleted: 'bad', unchanged: 'dim' };
  const note = dryRun ? ' (dry run)' : '';
  const lines = described.flatMap(({ kind, name, change, diff = [] }) => [
    `${kind.toLowerCase()}/${name} ${paint(tones[change]!, change)}${note}`,
    ...diff.map((line) => `  ${paint(line[0] === '+' ? 'good' : line[0] === '-' ? 'bad' : 'dim', line)}`),
  ]);
  const text = [...lines, `revision ${revision}${dryRun ? ' stays in force' : ''}`].join('\n');
  output.data({ dryRun, revision, changes: described }, text);
}

/** Said in the lines of the file that would hold it, since that is what people know it by. */
async function withDiff({ before, after, ...change }: Change): Promise<Omit<Change, 'before' | 'after'> & Diff> {
  if (!before || !after) return change;
  const [{ asFiles }, { diffLines, inOrderOf }] = await Promise.all([import('./get.ts'), import('../diff.ts')]);
  const [from, to] = await Promise.all([asFiles([before]), asFiles([inOrderOf(before, after)])]);
  return { ...change, diff: diffLines(from.trimEnd().split('\n'), to.trimEnd().split('\n')) };
}

type Change = ApplyReply['changes'][number];
interface Diff {
  readonly diff?: readonly string[];
}

async function readResources(paths: readonly string[]): Promise<readonly LocatedResource[]> {
  const { loadResources, parseResources } = await import('#config/resources');
  const files = paths.filter((path) => path !== '-');
  const loaded = [
    ...(files.length > 0 ? [loadResources(files)] : []),
    ...(files.length < paths.length ? [parseResources(await readStandardInput(), '(standard input)')] : []),
  ];
  const problems = loaded.flatMap((one) => one.problems);
  if (problems.length > 0) throw fail('CLI_FILES_INVALID', { count: problems.length }, { problems });
  const resources = loaded.flatMap((one) => one.resources);
  if (resources.length === 0) throw fail('CLI_FILES_EMPTY', { files: paths.join(', ') });
  return resources;
}

async function readStandardInput(): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin) {
    chunks.push(chunk as Buffer);
    size += (chunk as Buffer).length;
    if (size > 64 << 20) throw fail('CLI_FILES_TOO_LARGE');
  }
  return Buffer.concat(chunks).toString();
}

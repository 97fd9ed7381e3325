// `postern policy suggest`: the least rules that allow what was observed, as a file to read, change and apply. Applies nothing.
import type { Command } from 'commander';
import type { SuggestedRule, Suggestion } from '#policy/tools';
import type { CliContext } from '../../context.ts';
import { examples } from '../../help.ts';
import { shortId } from '../../names.ts';
import { fetchObserved, sinceOf } from '../../policy-records.ts';

interface SuggestOptions {
  readonly since: string;
  readonly to?: string;
  readonly denied?: boolean;
}

export function registerSuggest(policy: Command, context: CliContext): void {
  const command = policy
    .command('suggest')
    .description('write the least rules that allow the calls that were observed')
    .option('--since <TIME>', 'how far back, such as 24h or 7d', '7d')
    .option('--to <SERVICE>', 'only for this called service')
    .option('--denied', 'calls that were denied by default too: to see what a strict policy still lacks')
    .action((options: SuggestOptions) => runSuggest(context, options));
  examples(
    command,
    'postern policy suggest --since 7d > suggested.yaml',
    'postern policy suggest --to payments -o json',
  );
}

async function runSuggest(context: CliContext, options: SuggestOptions): Promise<void> {
  const { suggestRules } = await import('#policy/tools');
  const { output } = context;
  const since = sinceOf(options.since, context.clock.now());
  await context.withApi(async (api) => {
    const { calls } = await fetchObserved(context, api, since);
    const wanted = calls.filter(({ effect, reason, to }) => {
      const isMeant = effect === 'allow' || (options.denied === true && reason === 'default-deny');
      return isMeant && (options.to === undefined || shortId(to, api.trustDomain) === options.to || to === options.to);
    });
    const suggestions = suggestRules(wanted);
    if (output.format !== 'table') return output.data({ suggestions }, '');
    if (suggestions.length === 0)
      return output.say(`nothing was ${options.denied ? 'observed' : 'allowed'} since then`);
    output.raw(suggestions.map((one) => fileText(one, api.trustDomain)).join('---\n'));
  });
}

/** YAML by hand, so that the evidence stands beside each rule as a comment; every value is quoted as JSON, which YAML reads alike. */
function fileText({ to, rules }: Suggestion, trustDomain: string): string {
  const name = `suggested/${shortId(to, trustDomain)
    .replace(/[^A-Za-z0-9._/-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, '')}`;
  const lines = [
    'kind: Policy',
    `name: ${quote(name.slice(0, 120))}`,
    `to: ${quote(shortId(to, trustDomain))}`,
    'rules:',
  ];
  return `${[...lines, ...rules.flatMap((rule) => ruleLines(rule, trustDomain))].join('\n')}\n`;
}

function ruleLines(
  { id, from, methods, paths, count, distinct, first, last }: SuggestedRule,
  trustDomain: string,
): string[] {
  const list = (items: readonly string[]): string => `[${items.map(quote).join(', ')}]`;
  return [
    `  # ${count} calls on ${distinct} different paths, ${first} to ${last}`,
    `  - id: ${quote(id)}`,
    '    effect: allow',
    `    from: ${list(from.map((one) => shortId(one, trustDomain)))}`,
    `    methods: ${list(methods)}`,
    `    paths: ${list(paths)}`,
  ];
}

function quote(text: string): string {
  return JSON.stringify(text);
}

// `postern policy shadow-report`: what shadow rules would have done to the calls that they matched.
import type { Command } from 'commander';
import type { ShadowRow } from '#policy/tools';
import { policySet } from '#wire';
import type { CliContext } from '../../context.ts';
import { examples } from '../../help.ts';
import { fetchObserved, sinceOf } from '../../policy-records.ts';
import { callText } from '../../policy-replay.ts';

export function registerShadowReport(policy: Command, context: CliContext): void {
  const command = policy
    .command('shadow-report')
    .description('count what shadow rules would have changed')
    .option('--since <TIME>', 'how far back, such as 24h or 7d', '24h')
    .action((options: { readonly since: string }) => runShadowReport(context, options));
  examples(command, 'postern policy shadow-report --since 7d', 'postern policy shadow-report -o json');
}

async function runShadowReport(context: CliContext, options: { readonly since: string }): Promise<void> {
  const { reportShadows } = await import('#policy/tools');
  const since = sinceOf(options.since, context.clock.now());
  await context.withApi(async (api) => {
    const set = await api.call({ method: 'GET', path: '/v1/policy', reply: policySet });
    const { calls } = await fetchObserved(context, api, since);
    const rules = reportShadows(calls, set);
    context.output.data(
      { rules },
      {
        columns: ['RULE', 'WOULD', 'MATCHED', 'WOULD CHANGE', 'MOST OFTEN'],
        rows: rules.map((row) => [
          row.rule,
          row.effect ?? 'gone',
          row.matched,
          row.flips,
          mostOften(row, api.trustDomain),
        ]),
        empty: 'there is no shadow rule, and none was recorded',
      },
    );
  });
}

function mostOften({ calls }: ShadowRow, trustDomain: string): string | undefined {
  const [first] = calls;
  return first && `${callText(first.call, trustDomain)} (${first.call.count})`;
}

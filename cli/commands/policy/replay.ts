// `postern policy replay`: what would recorded decisions be under a candidate, by whom and how often.
import type { Command } from 'commander';
import type { CliContext } from '../../context.ts';
import { exitCodes } from '../../exit-codes.ts';
import { examples } from '../../help.ts';
import { sinceOf } from '../../policy-records.ts';
import { flipText, replayAgainst } from '../../policy-replay.ts';
import { readVersion } from '../../policy-source.ts';

interface ReplayOptions {
  readonly since: string;
}

export function registerReplay(policy: Command, context: CliContext): void {
  const command = policy
    .command('replay')
    .description('decide recorded calls again under a candidate and show which would flip')
    .argument('<CANDIDATE>', 'a file, a folder, live or rev:N: all of the policy as it would be')
    .option('--since <TIME>', 'how far back, such as 24h or 7d', '24h')
    .action((candidate: string, options: ReplayOptions) => runReplay(context, candidate, options));
  examples(command, 'postern policy replay policies/ --since 24h', 'postern policy replay rev:1764000000000 -o json');
}

async function runReplay(context: CliContext, candidate: string, options: ReplayOptions): Promise<void> {
  const since = sinceOf(options.since, context.clock.now());
  await context.withApi(async (api) => {
    const { set } = await readVersion(context, candidate, api.trustDomain);
    const result = await replayAgainst({ context, api, since, candidate: set });
    const { decisions, same, depends, flips } = result;
    const { paint } = context.output;
    const shown = flips.slice(0, 50).map((flip) => {
      const text = flipText(flip, api.trustDomain);
      return paint(flip.now === 'deny' ? 'bad' : 'warn', text);
    });
    const left = flips.length - shown.length;
    const unknown = depends > 0 ? `, ${depends} that depend on headers or ports which records do not have` : '';
    const sum = `${decisions} decisions, ${same} the same, ${decisions - same - depends} flipped${unknown}`;
    context.output.data(result, [...shown, ...(left > 0 ? [`and ${left} more`] : []), sum].join('\n'));
    if (flips.length > 0) context.exitWith(exitCodes.failed);
  });
}

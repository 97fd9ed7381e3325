// `postern token`: join tokens, each good for one instance of one service.
import type { Command } from 'commander';
import { formatDuration, parseDuration } from '#base/duration';
import { longestTokenTtlMs, type TokenList, type TokenReply, wireVersion } from '#wire';
import type { CliContext } from '../context.ts';
import { fail } from '../errors.ts';
import { examples } from '../help.ts';
import { ago } from '../when.ts';

export function register(program: Command, context: CliContext): void {
  const token = program.command('token').description('let instances of services join');
  const create = token
    .command('create')
    .description('make a join token, which enrols one instance of one service, once')
    .argument('<SERVICE>', 'the service, such as shop/payments')
    .option('--ttl <DURATION>', 'how long it may be used', '10m')
    .action((service: string, options: { ttl: string }) => runCreate(context, service, options.ttl));
  examples(
    create,
    'postern token create web',
    'TOKEN=$(postern token create web)',
    'postern token create shop/payments --ttl 1h',
  );
  const list = token
    .command('list')
    .description('show the tokens made lately, never the tokens themselves')
    .action(() => runList(context));
  examples(list, 'postern token list');
  examples(token, 'postern token create web', 'postern token list');
}

async function runCreate(context: CliContext, service: string, ttl: string): Promise<void> {
  const ttlMs = parseDuration(ttl);
  if (ttlMs === undefined || ttlMs < 1_000 || ttlMs > longestTokenTtlMs)
    throw fail('CLI_USAGE', {
      problem: `--ttl ${ttl} is not a duration from 1s to ${formatDuration(longestTokenTtlMs)}`,
      fix: 'such as 90s, 10m or 1h',
    });
  const made = await context.withApi((api) =>
    api.call<TokenReply>({ method: 'POST', path: '/v1/tokens', body: { version: wireVersion, service, ttlMs } }),
  );
  const { output, clock } = context;
  output.say(`a token for one instance of ${made.service}, good for ${formatDuration(made.expiresAt - clock.now())}:`);
  output.data(made, made.token);
  output.next(`postern sidecar --token TOKEN --app 127.0.0.1:8080`, 'on the machine of the instance');
}

async function runList(context: CliContext): Promise<void> {
  const { tokens } = await context.withApi((api) => api.call<TokenList>({ method: 'GET', path: '/v1/tokens' }));
  const now = context.clock.now();
  context.output.data(
    { tokens },
    {
      columns: ['ID', 'SERVICE', 'STATE', 'CREATED', 'BY', 'EXPIRES', 'INSTANCE'],
      rows: tokens.map((one) => [
        one.id,
        one.service,
        { text: one.state, tone: one.state === 'unused' ? 'good' : 'dim' },
        ago(one.createdAt, now),
        one.createdBy,
        one.expiresAt > now ? `in ${formatDuration(one.expiresAt - now)}` : ago(one.expiresAt, now),
        one.instance,
      ]),
      empty: 'no tokens yet: postern token create SERVICE makes one',
    },
  );
}

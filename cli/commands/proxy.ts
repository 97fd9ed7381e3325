// `postern proxy dump`: what a running proxy holds and how it sees the mesh, in its own words. No key and no secret is among them.
import type { Command } from 'commander';
import type { DumpReply } from '#wire';
import type { CliContext } from '../context.ts';
import type { Dump } from '../dump-view.ts';
import { fail } from '../errors.ts';
import { exitCodes } from '../exit-codes.ts';
import { examples } from '../help.ts';

export function register(program: Command, context: CliContext): void {
  const proxy = program.command('proxy').description('look into a running proxy');
  const dump = proxy
    .command('dump')
    .description(
      'show the configuration in force in a proxy, and its clusters, endpoints, connections and certificate now',
    )
    .argument('[PROXY]', 'an instance, or a service for all of its instances')
    .option('--admin <H:P>', 'ask the admin listener of a proxy on this machine instead of the control plane')
    .action((name: string | undefined, options: { readonly admin?: string }) => runDump(context, name, options.admin));
  examples(
    dump,
    'postern proxy dump payments',
    'postern proxy dump payments -o json | jq ".proxies[0].dump.configuration.clusters"',
    'postern proxy dump --admin 127.0.0.1:15000   # while the control plane is away',
  );
}

async function runDump(context: CliContext, name: string | undefined, admin: string | undefined): Promise<void> {
  if ((name === undefined) === (admin === undefined))
    throw fail('CLI_USAGE', { problem: 'it takes a proxy or --admin', fix: 'see: postern proxy dump --help' });
  const { reply, trustDomain } = admin === undefined ? await askServer(context, name!) : await askAdmin(admin);
  const { output, clock } = context;
  const { dumpText } = await import('../dump-view.ts');
  const texts = reply.proxies.flatMap(({ dump }) =>
    dump === undefined ? [] : [dumpText(dump as Dump, { trustDomain, now: clock.now(), output })],
  );
  output.data(reply, texts.join('\n\n'));
  const silent = reply.proxies.filter(({ problem }) => problem !== undefined);
  for (const { problem } of silent) output.warn(problem!);
  if (reply.more > 0) output.warn(`${reply.more} more instances were not asked: name one of them`);
  if (silent.length > 0) context.exitWith(exitCodes.unreachable);
}

async function askServer(context: CliContext, name: string): Promise<{ reply: DumpReply; trustDomain: string }> {
  return context.withApi(async (api) => ({
    reply: await api.call<DumpReply>({ method: 'GET', path: `/v1/dump?proxies=${encodeURIComponent(name)}` }),
    trustDomain: api.trustDomain,
  }));
}

async function askAdmin(address: string): Promise<{ reply: DumpReply; trustDomain: string }> {
  const { readAdminPage } = await import('../admin-page.ts');
  const read = (await readAdminPage(address, '/dump')) as Dump | Readonly<Record<string, Dump>>;
  const dumps = isOfOne(read) ? [read] : Object.values(read);
  const proxies = dumps.map((dump) => {
    const { service = '', instance = '' } = dump.status ?? {};
    return { instance, service, dump };
  });
  const [trustDomain = ''] = proxies.flatMap(({ service }) => /^spiffe:\/\/([^/]+)\//.exec(service)?.[1] ?? []);
  return { reply: { proxies, more: 0 }, trustDomain };
}

/** A gateway answers with one dump for each of its services, whatever those are called. */
function isOfOne(read: Dump | Readonly<Record<string, Dump>>): read is Dump {
  return typeof (read as Dump).status?.service === 'string';
}

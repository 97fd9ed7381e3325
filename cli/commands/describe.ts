// `postern describe`: everything that is known of one service, in one look.
import type { Command } from 'commander';
import type { ServiceReport } from '#wire';
import type { CliContext } from '../context.ts';
import { examples } from '../help.ts';
import { troublesOf } from '../proxy-view.ts';

export function register(program: Command, context: CliContext): void {
  const command = program
    .command('describe')
    .description('show all about a service: proxies, certificates, routes, settings, who may call it, what it may call')
    .argument('<SERVICE>', 'a service, its SPIFFE ID, or one of its instances')
    .action((service: string) => runDescribe(context, service));
  examples(
    command,
    'postern describe payments',
    'postern describe payments -o wide',
    'postern describe payments -o json',
  );
}

async function runDescribe(context: CliContext, service: string): Promise<void> {
  const { output, clock } = context;
  const { clustersInForce, describeService } = await import('../describe-view.ts');
  const { report, trustDomain } = await context.withApi(async (api) => ({
    report: await api.call<ServiceReport>({ method: 'GET', path: `/v1/services/${encodeURIComponent(service)}` }),
    trustDomain: api.trustDomain,
  }));
  const now = clock.now();
  output.data({ ...report, clusters: clustersInForce(report) }, describeService({ report, trustDomain, now, output }));
  for (const proxy of report.proxies) for (const trouble of troublesOf(proxy, now)) output.warn(trouble);
  if (report.ban) output.warn(`${report.name} is banned: nobody takes its certificates`);
  const caller = report.policy.to.find(({ from }) => from.length === 1 && /^spiffe:.*[^*]$/.test(from[0]!))?.from[0];
  output.next(
    `postern route ${caller === undefined ? 'FROM' : caller.replace(/^spiffe:\/\/[^/]+\//, '')} http://${report.host}/`,
    'where a call would go',
  );
  if (report.denials.called > 0)
    output.next(`postern audit query --service ${report.name} --decision deny --since 1h`, 'who was refused');
}

// `postern get`: the resources in force.
import type { Command } from 'commander';
import { suggest } from '#base/suggest';
import type { LocatedResource, Resource, ResourceKind, RuleResource } from '#wire';
import type { Api, CliContext } from '../context.ts';
import { fail } from '../errors.ts';
import { examples } from '../help.ts';
import { kinds, parseKind } from '../kinds.ts';
import type { Cell, Table } from '../table.ts';

export function register(program: Command, context: CliContext): void {
  const command = program
    .command('get')
    .description('show resources: policies, clusters, virtual services and all other kinds')
    .argument('<KIND>', `one of: ${kinds.map((kind) => kind.toLowerCase()).join(', ')}`)
    .argument('[NAME]', 'one of them')
    .action((kind: string, name: string | undefined) => runGet(context, parseKind(kind), name));
  examples(
    command,
    'postern get policies',
    'postern get policy payments-access -o yaml > payments.yaml',
    'postern get clusters',
    'postern get virtualservice shop -o yaml',
    'postern get groups -o json',
  );
}

async function runGet(context: CliContext, kind: ResourceKind, name: string | undefined): Promise<void> {
  const { output } = context;
  const found = await context.withApi((api) => findResources(api, kind, name));
  // As files hold them, so that what was shown can be applied again.
  if (output.format === 'yaml') return output.raw(await asFiles(found.map(({ resource }) => resource)));
  output.data(
    {
      resources: found.map(({ resource, origin }) => ({
        ...resource,
        ...(origin ? { origin: { file: origin.file } } : {}),
      })),
    },
    tableOf(kind, found),
  );
}

/** Throws `CLI_NOT_FOUND` when a name is given and nothing has it. */
async function findResources(
  api: Api,
  kind: ResourceKind,
  name: string | undefined,
): Promise<readonly LocatedResource[]> {
  const { resources } = await api.call<{ resources: readonly LocatedResource[] }>({
    method: 'GET',
    path: `/v1/resources?kind=${encodeURIComponent(kind)}`,
  });
  const found = name === undefined ? resources : resources.filter(({ resource }) => resource.name === name);
  if (name === undefined || found.length > 0) return found;
  throw notFound({ kind, name, names: resources.map(({ resource }) => resource.name) });
}

/** Says which name may have been meant. */
export function notFound({ kind, name, names }: { kind: string; name: string; names: readonly string[] }): Error {
  const near = suggest(name, names);
  const what = kind.toLowerCase();
  return fail('CLI_NOT_FOUND', { what, name, fix: near ? `did you mean ${near}?` : `see: postern get ${what}` });
}

function tableOf(kind: ResourceKind, found: readonly LocatedResource[]): Table {
  const columns = [...columnsOf[kind], 'FROM FILE'];
  const empty = `no ${kind.toLowerCase()} yet: postern apply -f FILE brings some`;
  return { columns, rows: found.map(({ resource, origin }) => [...cellsOf(resource), origin?.file]), empty };
}

const columnsOf: Readonly<Record<ResourceKind, readonly string[]>> = {
  Policy: ['NAME', 'TO', 'ALLOW', 'DENY', 'SHADOW'],
  Group: ['NAME', 'MEMBERS'],
  Assertion: ['NAME', 'NEVER', 'ALWAYS'],
  JwtIssuer: ['NAME', 'ISSUER', 'AUDIENCES', 'KEYS'],
  CasbinModel: ['NAME', 'TO', 'ROWS'],
  Cluster: ['NAME', 'SERVICE', 'ENDPOINTS', 'LOAD BALANCING'],
  VirtualService: ['NAME', 'SERVICE', 'HOSTS', 'ROUTES'],
  Mesh: ['NAME', 'OUTBOUND', 'TRACES TO'],
};

function cellsOf(resource: Resource): Cell[] {
  if (resource.kind === 'Group') return [resource.name, resource.members.join(', ')];
  if (resource.kind === 'JwtIssuer') {
    const { name, issuer, audiences, jwks } = resource;
    return [name, issuer, audiences.join(', '), jwks?.keys.length ?? 0];
  }
  if (resource.kind === 'CasbinModel') {
    return [resource.name, [resource.to].flat().join(', '), resource.rows?.length ?? 0];
  }
  if (resource.kind === 'Assertion') {
    return [resource.name, ...[resource.never, resource.always].map((each) => [each ?? []].flat().length)];
  }
  if (resource.kind === 'Cluster') {
    const { name, service = name, endpoints, loadBalancing } = resource;
    const source = typeof endpoints === 'string' ? endpoints : Object.keys(endpoints).join();
    return [name, service, source, loadBalancing?.policy ?? 'least-request'];
  }
  if (resource.kind === 'VirtualService') {
    const { name, service = name, hosts, http = [], tcp = [], tls = [] } = resource;
    return [name, service, hosts.join(', '), http.length + tcp.length + tls.length];
  }
  if (resource.kind === 'Mesh')
    return [resource.name, resource.outboundPolicy ?? 'registry-only', resource.tracing?.otlp];
  const count = (matches: (rule: RuleResource) => boolean): number => resource.rules.filter(matches).length;
  return [
    resource.name,
    typeof resource.to === 'string' ? resource.to : resource.to.join(', '),
    count((rule) => rule.effect === 'allow' && !rule.shadow),
    count((rule) => rule.effect === 'deny' && !rule.shadow),
    count((rule) => rule.shadow === true),
  ];
}

/** What a file would hold: applied again it changes nothing. */
export async function asFiles(resources: readonly Resource[]): Promise<string> {
  const { stringify } = await import('yaml');
  return resources.map((resource) => stringify(resource)).join('---\n');
}

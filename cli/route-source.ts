// Where the routes come from that a question is about: the very snapshot that the caller's proxies get, or files, of which no endpoint is known.
import type { Problem } from '#base/error';
import {
  type LocatedResource,
  type PolicySet,
  type ServiceEntry,
  type ServiceName,
  type Snapshot,
  snapshotSchema,
} from '#wire';
import type { Api, CliContext } from './context.ts';
import { fail } from './errors.ts';
import { idOf } from './policy-request.ts';
import { trustDomainOf } from './policy-source.ts';

export interface RouteSource {
  readonly trustDomain: string;
  /** SPIFFE ID of the caller. */
  readonly from: string;
  readonly policy: PolicySet;
  readonly services: readonly ServiceEntry[];
  readonly clusters: NonNullable<Snapshot['clusters']>;
  readonly virtualServices: NonNullable<Snapshot['virtualServices']>;
  readonly outboundPolicy: 'registry-only' | 'allow-any';
  /** Where virtual services were written. */
  readonly located: readonly LocatedResource[];
  /** Whether endpoints are those that there are: not of files. */
  readonly isLive: boolean;
  /** Every service that there is, whether the caller may call it or not. */
  readonly known: readonly string[];
}

export interface SourceOptions {
  readonly from: string;
  readonly file: readonly string[];
  readonly trustDomain?: string;
}

/** Throws `CLI_FILES_INVALID`, SERVICE_NAME_UNKNOWN, or what the channel throws. */
export function readRouteSource(context: CliContext, options: SourceOptions): Promise<RouteSource> {
  return options.file.length > 0
    ? readFromFiles(context, options)
    : context.withApi((api) => readLive(api, options.from));
}

async function readLive(api: Api, from: string): Promise<RouteSource> {
  const path = `/v1/snapshot?service=${encodeURIComponent(from)}`;
  const [snapshot, { services: known }, { resources: located }] = await Promise.all([
    api.call<Snapshot>({ method: 'GET', path, reply: snapshotSchema }),
    api.call<{ services: readonly ServiceName[] }>({ method: 'GET', path: '/v1/services' }),
    api.call<{ resources: readonly LocatedResource[] }>({ method: 'GET', path: '/v1/resources?kind=VirtualService' }),
  ]);
  const { service, policy, services, clusters = [], virtualServices = [], mesh } = snapshot;
  return {
    ...{ trustDomain: api.trustDomain, from: service, policy, services, clusters, virtualServices },
    outboundPolicy: mesh?.outboundPolicy ?? 'registry-only',
    ...{ located, isLive: true, known: known.map(({ id }) => id) },
  };
}

async function readFromFiles(context: CliContext, options: SourceOptions): Promise<RouteSource> {
  const { resources, problems } = await readMeshFiles(context, options.file, options.trustDomain);
  if (problems.length > 0) throw fail('CLI_FILES_INVALID', { count: problems.length }, { problems });
  const { buildPolicySet } = await import('#policy');
  const { buildTraffic, hostOf } = await import('#routing');
  const trustDomain = trustDomainOf(context, options);
  const from = idOf(options.from, trustDomain);
  const policy = buildPolicySet({ resources, trustDomain, revision: 0 });
  const { clusters, virtualServices, mesh } = buildTraffic({ resources, trustDomain });
  const named = policy.rules.flatMap((rule) => [...rule.to, ...rule.from]).filter(isExact);
  const enrolled = clusters.filter(({ endpoints }) => endpoints === 'enrolled').map(({ id }) => id);
  const outside = new Set(clusters.filter(({ endpoints }) => endpoints !== 'enrolled').map(({ id }) => id));
  const ids = new Set([from, ...named, ...enrolled, ...virtualServices.map(({ id }) => id)]);
  const own = `spiffe://${trustDomain}/`;
  const services = [...ids]
    .filter((id) => id.startsWith(own) && !outside.has(id))
    .map((id): ServiceEntry => ({ id, hosts: [hostOf(id.slice(own.length))], ports: [], endpoints: [] }));
  return {
    ...{ trustDomain, from, policy, services, clusters, virtualServices },
    outboundPolicy: mesh?.outboundPolicy ?? 'registry-only',
    ...{ located: resources, isLive: false, known: [...ids, ...outside] },
  };
}

/** What the files hold, and what is wrong with it: in shape, and as policy and traffic. */
export async function readMeshFiles(
  context: CliContext,
  files: readonly string[],
  trustDomain: string | undefined,
): Promise<{ resources: readonly LocatedResource[]; problems: readonly Problem[] }> {
  const { readFiles } = await import('./policy-source.ts');
  const { validateTraffic } = await import('#routing/tools');
  const { resources, problems } = await readFiles(files);
  if (problems.length > 0) return { resources, problems };
  const domain = trustDomainOf(context, trustDomain === undefined ? {} : { trustDomain });
  return { resources, problems: validateTraffic(resources, { trustDomain: domain }) };
}

function isExact(text: string): boolean {
  return text.startsWith('spiffe://') && !text.endsWith('/**');
}

// Everything that analysis finds, from traffic, policies and certificates, as one list: of files, of the mesh that runs, or of files as they would be in it.
import type { Problem } from '#base/error';
import type { Finding as TrafficFinding } from '#routing/tools';
import { parseSpiffeId } from '#spiffe';
import type { CaStatus, IdentityStatus, LocatedResource, StatusReply, TokenList } from '#wire';
import type { Api, CliContext } from './context.ts';
import { fail } from './errors.ts';
import { shortId } from './names.ts';
import { trustDomainOf } from './policy-source.ts';
import { requestText } from './policy-words.ts';

export type Severity = 'error' | 'warning' | 'note';

export interface Finding {
  readonly code: string;
  readonly severity: Severity;
  /** `VirtualService payments`, `rule payments-access/charges`, `service payments`. */
  readonly subject: string;
  readonly message: string;
  readonly hint?: string;
  readonly pointer?: string;
  readonly file?: string;
  readonly line?: number;
  readonly column?: number;
}

export interface Analyzed {
  /** Files and folders; none: what is in force. */
  readonly files: readonly string[];
  /** Files as they would be in the mesh that runs. */
  readonly live: boolean;
  readonly trustDomain?: string;
}

/** What is known of the mesh that runs. */
interface Running {
  readonly resources: readonly LocatedResource[];
  readonly services: readonly Service[];
  readonly findings: readonly Finding[];
  readonly trustDomain: string;
}
interface Service {
  readonly name: string;
  readonly instances: readonly {
    readonly instance: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly notAfter: number;
  }[];
}

/** The worst first, then by place. */
export async function analyze(context: CliContext, { files, live, trustDomain }: Analyzed): Promise<Finding[]> {
  const { loadResources } = await import('#config/resources');
  const loaded = loadResources(files);
  if (loaded.problems.length > 0) return loaded.problems.map(misshapen);
  if (files.length > 0 && loaded.resources.length === 0) throw fail('CLI_FILES_EMPTY', { files: files.join(', ') });
  const running =
    files.length === 0 || live ? await context.withApi((api) => readRunning(api, context.clock.now())) : undefined;
  const resources = running ? applied(running.resources, loaded.resources) : loaded.resources;
  const given = trustDomain === undefined ? {} : { trustDomain };
  const domain = running?.trustDomain ?? trustDomainOf(context, given);
  const { analyzeTraffic } = await import('#routing/tools');
  const traffic: readonly TrafficFinding[] = analyzeTraffic(resources, {
    ...{ trustDomain: domain, now: context.clock.now() },
    ...(running ? { live: { services: running.services } } : {}),
  });
  const isRefused = traffic.some(({ code }) => code === 'PT001');
  const policy = isRefused ? [] : await lint(resources, domain, running?.services);
  return [...traffic, ...policy, ...(running?.findings ?? [])].sort(byWeight);
}

export const severities: readonly Severity[] = ['error', 'warning', 'note'];

function byWeight(one: Finding, other: Finding): number {
  const place = ({ file = '\uffff' }: Finding): string => file;
  return (
    severities.indexOf(one.severity) - severities.indexOf(other.severity) ||
    (place(one) < place(other) ? -1 : place(one) > place(other) ? 1 : (one.line ?? 0) - (other.line ?? 0))
  );
}

function misshapen({ message, hint, ...place }: Problem): Finding {
  return {
    code: 'PT001',
    severity: 'error',
    subject: place.file ?? 'file',
    message,
    ...(hint ? { hint } : {}),
    ...place,
  };
}

/** As `postern apply` would make them. */
function applied(inForce: readonly LocatedResource[], files: readonly LocatedResource[]): readonly LocatedResource[] {
  const key = ({ resource: { kind, name } }: LocatedResource): string => `${kind}/${name}`;
  return [...new Map([...inForce, ...files].map((one) => [key(one), one])).values()];
}

async function lint(
  resources: readonly LocatedResource[],
  trustDomain: string,
  services: readonly Service[] | undefined,
): Promise<Finding[]> {
  const [{ buildPolicySet }, { lintPolicy }] = await Promise.all([import('#policy'), import('#policy/tools')]);
  const set = buildPolicySet({ resources, trustDomain, revision: 0 });
  const outside = resources.flatMap(({ resource }) =>
    resource.kind === 'Cluster' && resource.endpoints !== 'enrolled' ? [resource.service ?? resource.name] : [],
  );
  const known =
    services &&
    new Set([...services.map(({ name }) => name), ...outside].map((name) => `spiffe://${trustDomain}/${name}`));
  return lintPolicy(set, known ? { known } : {}).map(({ code, severity, rule, effect, message, source, witness }) => ({
    ...{ code, severity, subject: `rule ${effect} ${rule}`, message },
    ...(witness ? { hint: `such as ${requestText(witness, trustDomain)}` } : {}),
    ...source,
  }));
}

async function readRunning(api: Api, now: number): Promise<Running> {
  const get = <T>(path: string) => api.call<T>({ method: 'GET', path });
  const [{ resources }, status, { identities }, { tokens }, authority] = await Promise.all([
    get<{ resources: readonly LocatedResource[] }>('/v1/resources'),
    get<StatusReply>('/v1/status'),
    get<{ identities: readonly IdentityStatus[] }>('/v1/identities'),
    get<TokenList>('/v1/tokens'),
    get<CaStatus>('/v1/ca'),
  ]);
  const enrolled = identities.map(({ id }) => id).filter((id) => !parseSpiffeId(id).isReserved);
  const expected = tokens.filter(({ state }) => state === 'unused').map(({ service }) => service);
  const ledTo = resources.flatMap(targetsOf).map((name) => `spiffe://${api.trustDomain}/${name}`);
  const services = [...new Set([...enrolled, ...expected, ...ledTo])].map((id) => ({
    name: shortId(id, api.trustDomain),
    instances: status.proxies
      .filter(({ service, sync }) => service === id && sync !== 'gone' && sync !== 'left')
      .map(({ instance, labels, notAfter }) => ({ instance, labels, notAfter })),
  }));
  return { resources, services, findings: authorityFindings(authority, now), trustDomain: api.trustDomain };
}

/** Clusters that routes in force lead to: what was taken once is not refused now. */
function targetsOf({ resource }: LocatedResource): string[] {
  if (resource.kind !== 'VirtualService') return [];
  const { http = [], tcp = [], tls = [] } = resource;
  return [...http, ...tcp, ...tls].flatMap(({ route = [] }) => route.map(({ cluster }) => cluster));
}

const weekMs = 7 * 86_400_000;

/** PT016 of the authority itself: what it warns of, and roots that end soon. */
function authorityFindings({ warnings, roots }: CaStatus, now: number): Finding[] {
  const common = { code: 'PT016', severity: 'warning', subject: 'authority' } as const;
  const ending = roots.filter(({ notAfter, state }) => state === 'active' && notAfter - now < weekMs);
  return [
    ...warnings.map((message) => ({ ...common, message, hint: 'see: postern ca status' })),
    ...ending.map(({ fingerprint, notAfter }) => ({
      ...common,
      message: `the root ${fingerprint} ${notAfter <= now ? 'has expired' : 'expires within a week'}`,
      hint: 'rotate it: postern ca rotate --root',
    })),
  ];
}

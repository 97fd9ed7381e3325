// What is in order by itself and still does not do what somebody seems to want? Looked for in the resources, and in what is known of the running
// mesh when that is given. Changes nothing.
import { validateResources } from '#policy';
import type { LocatedResource, PolicyResource, WeightedTarget } from '#wire';
import { buildTraffic } from '../build.ts';
import { createKnown, isOutside, type Known, servicesNamedIn } from '../check/known.ts';
import { validateTraffic } from '../validate.ts';
import { type Admitted, readAdmitted } from './admitted.ts';
import { analyzeCluster } from './analyze-cluster.ts';
import { analyzeRoutes } from './analyze-routes.ts';
import { type FindingCode, findingCodes } from './codes.ts';
import { type Finding, type Say, sayingTo } from './say.ts';

export type { Finding } from './say.ts';

export interface LiveService {
  readonly name: string;
  readonly instances: readonly {
    readonly instance: string;
    readonly labels: Readonly<Record<string, string>>;
    /** Expiry of its SVID, epoch milliseconds. */
    readonly notAfter?: number | undefined;
  }[];
}

export interface LiveFacts {
  readonly services: readonly LiveService[];
}

export interface AnalyzeOptions {
  readonly trustDomain: string;
  readonly live?: LiveFacts | undefined;
  /** Epoch milliseconds; without it no certificate is looked at. */
  readonly now?: number | undefined;
}

/** By resource in their order, refusals first: while there are any, nothing else is looked for. */
export function analyzeTraffic(resources: readonly LocatedResource[], options: AnalyzeOptions): Finding[] {
  const { trustDomain, live, now } = options;
  const services = live && new Set(live.services.map(({ name }) => name));
  const refused = [...validateResources(resources), ...validateTraffic(resources, { trustDomain, services })];
  if (refused.length > 0) return refused.map(asFinding);

  const findings: Finding[] = [];
  const saying = sayingTo(findings);
  const known = createKnown(resources, { trustDomain, services });
  const admitted = readAdmitted(resources, trustDomain);
  const named = servicesNamedIn(resources, trustDomain);
  const used = new Set<string>();
  for (const located of resources) {
    const { resource } = located;
    const say = saying(located);
    if (resource.kind === 'VirtualService') {
      const [entry] = buildTraffic({ resources: [located], trustDomain }).virtualServices;
      analyzeRoutes(entry!, { anybody: `spiffe://${trustDomain}/anybody`, say });
      for (const { target, pointer } of targetsOf(resource)) {
        used.add(target.cluster);
        checkTarget(target, {
          pointer,
          own: resource.service ?? resource.name,
          known,
          admitted,
          live,
          trustDomain,
          named,
          say,
        });
      }
      const service = resource.service ?? resource.name;
      if (admitted && !admitted.isOpen(`spiffe://${trustDomain}/${service}`))
        say('PT007', resource.service === undefined ? '/name' : '/service', `no policy admits anybody to ${service}`);
    } else if (resource.kind === 'Cluster') analyzeCluster(resource, { now, say });
    else if (resource.kind === 'Mesh' && resource.outboundPolicy === 'allow-any')
      say('PT020', '/outboundPolicy', 'whatever an application names is called, in the clear');
    else if (resource.kind === 'Policy' && services) checkPolicy(resource, { known, say });
  }
  for (const located of resources) {
    const { resource } = located;
    if (resource.kind !== 'Cluster' || !isOutside(resource) || resource.hosts || used.has(resource.name)) continue;
    saying(located)('PT014', '/name', 'no route leads to it, and it has no hosts');
  }
  return [...findings, ...instancesOf(live, now)];
}

function asFinding({ message, hint, ...place }: ReturnType<typeof validateTraffic>[number]): Finding {
  const [, subject = '', rest = message] = /^(\w+ \S+): (.*)$/s.exec(message) ?? [];
  const { severity, hint: usual } = findingCodes.PT001;
  return { code: 'PT001', severity, subject, message: rest, hint: hint ?? usual, ...place };
}

function targetsOf(
  resource: Extract<LocatedResource['resource'], { kind: 'VirtualService' }>,
): { readonly target: WeightedTarget; readonly pointer: string }[] {
  return (['http', 'tcp', 'tls'] as const).flatMap((kind) =>
    (resource[kind] ?? []).flatMap((route, index) => {
      const at = `/${kind}/${index}`;
      const mirrors = 'mirror' in route ? (route.mirror ?? []) : [];
      return [
        ...(route.route ?? []).map((target, place) => ({ target, pointer: `${at}/route/${place}` })),
        ...mirrors.map((target, place) => ({ target, pointer: `${at}/mirror/${place}` })),
      ];
    }),
  );
}

interface TargetOptions {
  readonly pointer: string;
  /** The service of the virtual service. */
  readonly own: string;
  readonly known: Known;
  readonly admitted: Admitted | undefined;
  readonly live: LiveFacts | undefined;
  readonly trustDomain: string;
  readonly named: ReadonlySet<string>;
  readonly say: Say;
}

function checkTarget({ cluster, subset }: WeightedTarget, o: TargetOptions): void {
  const { pointer, own, known, admitted, live, trustDomain, say } = o;
  const declared = known.clusters.get(cluster);
  if (!declared && !live && !o.named.has(cluster) && cluster !== own)
    return say('PT002', `${pointer}/cluster`, `nothing here says what ${cluster} is`);
  const service = declared?.service ?? cluster;
  if (admitted && service !== own && !admitted.isOpen(`spiffe://${trustDomain}/${service}`))
    say('PT008', `${pointer}/cluster`, `no policy admits anybody to ${service}, so what is sent there is refused`);
  if (!live || (declared && isOutside(declared))) return;
  const instances = live.services.find(({ name }) => name === service)?.instances ?? [];
  if (instances.length === 0) return say('PT006', `${pointer}/cluster`, `${service} has no instances`);
  const { labels = {} } = (subset === undefined ? undefined : declared?.subsets?.[subset]) ?? {};
  const wanted = Object.entries(labels);
  if (!instances.some((one) => wanted.every(([key, value]) => one.labels[key] === value)))
    say(
      'PT005',
      `${pointer}/subset`,
      `none of the ${instances.length} instances of ${service} has ${wanted.map(([key, value]) => `${key}=${value}`).join(', ')}`,
    );
}

function checkPolicy(policy: PolicyResource, { known, say }: { readonly known: Known; readonly say: Say }): void {
  const outside = new Set([...known.clusters.values()].map(({ service, name }) => service ?? name));
  for (const [index, to] of [policy.to].flat().entries()) {
    if (/[:*]/.test(to) || known.services?.has(to) || outside.has(to)) continue;
    say('PT009', typeof policy.to === 'string' ? '/to' : `/to/${index}`, `there is no service and no cluster ${to}`);
  }
}

const lastMs = 60_000;
function instancesOf(live: LiveFacts | undefined, now: number | undefined): Finding[] {
  if (!live || now === undefined) return [];
  const code: FindingCode = 'PT016';
  return live.services.flatMap(({ name, instances }) =>
    instances.flatMap(({ instance, notAfter }): Finding[] => {
      if (notAfter === undefined || notAfter - now > lastMs) return [];
      const message = `the certificate of its instance ${instance} ${notAfter <= now ? 'has expired' : 'is about to expire'}`;
      const hint = 'look at the log of that sidecar: it renews by itself at half of its life';
      return [{ code, severity: findingCodes[code].severity, subject: `service ${name}`, message, hint }];
    }),
  );
}

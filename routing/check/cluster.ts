// Can a cluster be reached as it says, and does each of its settings mean something?
import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { parseHostPort } from '#base/host-port';
import { pointerTo } from '#base/schema';
import { type Report, show } from '#policy';
import type { ClusterResource, HealthCheck, LoadBalancing, StaticEndpoint } from '#wire';
import { checkDuration } from './amount.ts';
import { isOutside, type Known } from './known.ts';
import { checkNoPattern, checkService } from './name.ts';

export function checkCluster(
  cluster: ClusterResource,
  { known, report }: { readonly known: Known; readonly report: Report },
): void {
  const { name, service = name, endpoints } = cluster;
  checkService(service, cluster.service === undefined ? '/name' : '/service', report);
  if (service !== name && known.services?.has(name))
    report('/service', `it is named like the service ${name}, and is for ${service}`, 'give it a name of its own');
  if (isOutside(cluster)) checkOutside(cluster, { service, known, report });
  else {
    for (const what of ['tls', 'plaintext', 'protocol', 'via'] as const)
      if (cluster[what] !== undefined)
        report(`/${what}`, `${what} is for endpoints outside the mesh: enrolled ones are reached over mTLS`);
    if (!known.isService(service)) report('/endpoints', `there is no service ${service} whose instances they could be`);
  }
  if (endpoints !== 'enrolled' && 'static' in endpoints) checkStatic(endpoints.static, cluster.subsets, report);
  if (endpoints !== 'enrolled' && 'dns' in endpoints) checkDns(endpoints.dns, cluster.subsets, report);
  for (const [subset, { labels }] of Object.entries(cluster.subsets ?? {}))
    if (Object.keys(labels).length === 0)
      report(`${pointerTo('/subsets', subset)}/labels`, `subset ${subset} names no label`);
  if (cluster.loadBalancing) checkBalancing(cluster.loadBalancing, report);
  const hashOn = cluster.loadBalancing?.hashOn;
  if (cluster.protocol === 'tcp' && hashOn && !('source' in hashOn))
    report(
      '/loadBalancing/hashOn',
      `a connection of TCP has no ${Object.keys(hashOn)[0]}`,
      'write source: identity or source: address',
    );
  const { outlierDetection: outlier } = cluster;
  checkDuration(outlier?.interval, '/outlierDetection/interval', report);
  const base = checkDuration(outlier?.baseEjection, '/outlierDetection/baseEjection', report) ?? 30_000;
  const max = checkDuration(outlier?.maxEjection, '/outlierDetection/maxEjection', report) ?? Math.max(300_000, base);
  if (base > max) report('/outlierDetection/maxEjection', 'the longest ejection is shorter than the first');
  if (cluster.healthCheck) checkHealthCheck(cluster.healthCheck, report);
}

function checkOutside(
  { tls, plaintext, via }: ClusterResource,
  { service, known, report }: { readonly service: string; readonly known: Known; readonly report: Report },
): void {
  if (known.services?.has(service))
    report(
      '/endpoints',
      `${service} is a service of the mesh, so its endpoints are its instances`,
      'give it another service: or name',
    );
  if (tls && plaintext !== undefined) report('/plaintext', 'it has tls and plaintext', 'write one of them');
  if (!tls && !plaintext)
    report('', 'it says neither tls nor plaintext', 'write tls: {}, or plaintext: true if it must go unencrypted');
  if (via !== undefined) {
    checkService(via, '/via', report);
    const gateway = known.clusters.get(via);
    if (via === service) report('/via', 'it would be its own gateway');
    else if (gateway && isOutside(gateway)) report('/via', `${via} is itself outside the mesh; a gateway is enrolled`);
    else if (!known.isService(via)) report('/via', `there is no service ${via}`, 'make a token for the gateway first');
  }
  if (!tls) return;
  checkNoPattern(tls.sni, '/tls/sni', report);
  if (tls.caFile !== undefined) report('/tls/caFile', 'a file is read by postern apply, from the file that names it');
  if (tls.ca !== undefined) checkCa(tls.ca, report);
}

function checkCa(pem: string, report: Report): void {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) report('/tls/ca', 'it has no certificate in PEM');
  for (const [index, block] of blocks.entries()) {
    try {
      if (!new X509Certificate(block).ca) report('/tls/ca', `certificate ${index + 1} is not one of a CA`);
    } catch {
      report('/tls/ca', `certificate ${index + 1} cannot be read`);
    }
  }
}

function checkStatic(
  given: readonly (string | StaticEndpoint)[],
  subsets: ClusterResource['subsets'],
  report: Report,
): void {
  const endpoints = given.map((each) => (typeof each === 'string' ? { address: each } : each)) as StaticEndpoint[];
  const seen = new Set<string>();
  for (const [index, { address }] of endpoints.entries()) {
    const at = `/endpoints/static/${index}`;
    const place = parseHostPort(address);
    if (!place || place.port === 0) report(at, `${show(address)} is no HOST:PORT`);
    if (seen.has(address.toLowerCase())) report(at, `${address} is there twice`, 'give it more weight instead');
    seen.add(address.toLowerCase());
  }
  if (endpoints.every(({ weight }) => weight === 0)) report('/endpoints/static', 'no endpoint has any weight');
  for (const [name, { labels }] of Object.entries(subsets ?? {}))
    if (!endpoints.some((one) => Object.entries(labels).every(([key, value]) => one.labels?.[key] === value)))
      report(pointerTo('/subsets', name), `subset ${name} has no endpoint: none has all its labels`);
}

function checkDns(
  dns: Extract<Exclude<ClusterResource['endpoints'], 'enrolled'>, { dns: unknown }>['dns'],
  subsets: ClusterResource['subsets'],
  report: Report,
): void {
  const at = '/endpoints/dns';
  const short = typeof dns === 'string' ? parseHostPort(dns) : undefined;
  const [name, port] =
    typeof dns === 'string' ? [short?.host ?? dns.replace(/:.*$/, ''), short?.port] : [dns.name, dns.port];
  if (isIP(name)) report(at, `${name} is an address`, 'write static: [HOST:PORT]');
  const isSrv = typeof dns !== 'string' && dns.type === 'srv';
  if (isSrv && port !== undefined) report(`${at}/port`, 'SRV records have ports of their own');
  if (!isSrv && !port) report(at, `${name} has no port`, 'write NAME:PORT; only SRV records have one of their own');
  if (typeof dns !== 'string') checkDuration(dns.refresh, `${at}/refresh`, report);
  for (const subset of Object.keys(subsets ?? {}))
    report(pointerTo('/subsets', subset), `subset ${subset} has no endpoint: those from DNS have no labels`);
}

function checkBalancing({ policy = 'least-request', hashOn, slowStart, zones }: LoadBalancing, report: Report): void {
  const isHashing = policy === 'ring-hash' || policy === 'maglev';
  if (isHashing && !hashOn)
    report('/loadBalancing/policy', `${policy} needs hashOn`, 'a header, cookie, query parameter or source');
  if (!isHashing && hashOn)
    report('/loadBalancing/hashOn', `${policy} does not look at it`, 'write ring-hash or maglev');
  checkDuration(slowStart, '/loadBalancing/slowStart', report);
  const zonesSeen = new Set<string>();
  for (const [index, zone] of (zones?.failover ?? []).entries()) {
    if (zonesSeen.has(zone)) report(`/loadBalancing/zones/failover/${index}`, `zone ${zone} is there twice`);
    zonesSeen.add(zone);
  }
}

function checkHealthCheck({ http, grpc, tcp, interval, timeout }: HealthCheck, report: Report): void {
  const kinds = [http, grpc, tcp].filter((kind) => kind !== undefined).length;
  if (kinds !== 1) report('/healthCheck', 'write one of http, grpc and tcp');
  checkNoPattern(http?.host, '/healthCheck/http/host', report);
  checkDuration(interval, '/healthCheck/interval', report);
  checkDuration(timeout, '/healthCheck/timeout', report);
}

// How the endpoints of a cluster are spoken to: as sidecars that prove to be a service, or as whatever stands outside the mesh. Read and checked once,
// when configuration arrives; connections of one cluster are never made any other way.
import { isIP } from 'node:net';
import { parseSpiffeId, type SpiffeId } from '#spiffe';
import type { ClusterEntry } from '#wire';
import { assertTrust } from './external-trust.ts';

/** Bounds of one endpoint's connections; absent: those of the proxy. */
export interface LinkBounds {
  readonly maxConnections: number | undefined;
  readonly maxPending: number | undefined;
}

export interface MeshLink extends LinkBounds {
  readonly kind: 'mesh';
  /** Who must be found there: the cluster's service, or the egress gateway that is the way to it. */
  readonly expect: SpiffeId;
}

export interface ExternalLink extends LinkBounds {
  readonly kind: 'external';
  /** For people: the name of the cluster. */
  readonly name: string;
  readonly protocol: 'http' | 'h2c' | 'tcp';
  /** Absent: plaintext. */
  readonly tls: ExternalTls | undefined;
  /** Names of the cluster, exact or `*.` and one. */
  readonly hosts: readonly string[];
  /** The first exact one, which requests that name no host of it are sent with. */
  readonly authority: string | undefined;
  /** Its endpoints are instances of this proxy's own service: they are told who calls. */
  readonly isOurs?: boolean;
}

export interface ExternalTls {
  /** What is asked for and must be in the certificate; absent: the host of each endpoint. */
  readonly serverName: string | undefined;
  /** PEM; absent: the public roots. */
  readonly ca: string | undefined;
  readonly clientCertificate: string | undefined;
  readonly minVersion: '1.2' | '1.3';
}

export type ClusterLink = MeshLink | ExternalLink;

/** Throws when an entry makes no sense: a snapshot is taken whole or not at all. `own` is the SPIFFE ID of this proxy. */
export function linkOf(o: { readonly id: string; readonly entry: ClusterEntry | undefined; own: string }): ClusterLink {
  const { id, entry, own } = o;
  const { maxConnections, maxPending } = entry?.circuitBreaker ?? {};
  const bounds = { maxConnections, maxPending };
  if (!entry || entry.endpoints === 'enrolled') return { kind: 'mesh', expect: parseSpiffeId(id), ...bounds };
  if (entry.gateway !== undefined && entry.gateway !== own)
    return { kind: 'mesh', expect: parseSpiffeId(entry.gateway), ...bounds };
  const authority = entry.hosts?.find((host) => !host.startsWith('*.'));
  return {
    kind: 'external',
    name: entry.name,
    protocol: entry.protocol ?? 'http',
    tls: entry.tls && tlsOf(entry, authority),
    hosts: entry.hosts ?? [],
    authority,
    ...bounds,
  };
}

/**
 * The Host that a request is sent with when no route says otherwise: as the application wrote it when it is a name of the cluster, the cluster's first
 * name when it came by another one, such as that of a port of its own.
 */
export function authorityFor(link: ClusterLink, { host, authority }: { host: string; authority: string }): string {
  if (link.kind === 'mesh' || link.authority === undefined) return authority;
  return hasHost(link, host) ? authority : link.authority;
}

/** Whether it is a name of the cluster. */
export function hasHost({ hosts }: ExternalLink, host: string): boolean {
  return hosts.some((one) => (one.startsWith('*.') ? host.endsWith(one.slice(1)) : host === one));
}

function tlsOf(entry: ClusterEntry, authority: string | undefined): ExternalTls {
  const { sni, ca, clientCertificate, minVersion = '1.2' } = entry.tls!;
  if (sni?.startsWith('*.')) throw new TypeError(`tls.sni of the cluster ${entry.name} is a pattern`);
  assertTrust(entry.name, ca);
  return { serverName: sni ?? authority ?? dnsNameOf(entry), ca, clientCertificate, minVersion };
}

function dnsNameOf({ endpoints }: ClusterEntry): string | undefined {
  if (typeof endpoints === 'string' || !('dns' in endpoints)) return undefined;
  const { dns } = endpoints;
  const name = typeof dns === 'string' ? dns.replace(/:[0-9]+$/, '') : dns.name;
  // Of SRV records the targets are what is connected to, but the name that was asked for is what was meant.
  return isIP(name) ? undefined : name.toLowerCase().replace(/^(_[^.]+\.)+/, '');
}

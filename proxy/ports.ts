// Every port that a data plane listens on and what is behind them, as plain values: they cross to other threads, and are compared to see what has changed.
import { type HostPort, parseHostPort } from '#base/host-port';
import type { ClusterEntry } from '#wire';
import type { AppProtocol } from './app-protocol.ts';

export interface Ports {
  /** Where peers connect, by mutual TLS. */
  readonly inbound?: HostPort | undefined;
  /** Where applications send their calls. */
  readonly outbound?: HostPort | undefined;
  /** Addresses and blocks of them that may use it; whoever can connect, when absent. */
  readonly outboundFrom?: readonly string[] | undefined;
  /** Ports of their own for services by name (their SPIFFE path), and what callers speak there. */
  readonly upstreams: readonly UpstreamPort[];
  /** Where callers from outside the mesh connect. */
  readonly edges?: readonly EdgePort[] | undefined;
  /** What is behind the inbound port, where it is not one application: instances without a proxy of their own, or clusters outside the mesh. */
  readonly behind?: Group | 'outside' | undefined;
}

/** Instances of a service without a proxy of their own, described as a cluster is. */
export type Group = Omit<ClusterEntry, 'name' | 'id' | 'gateway' | 'hosts' | 'via' | 'tls' | 'plaintext' | 'subsets'>;

export interface UpstreamPort {
  readonly name: string;
  readonly listen: HostPort;
  /** HTTP/1.1 and HTTP/2 are told apart by a caller's first bytes. */
  readonly protocol: Exclude<AppProtocol, 'h2c'>;
}

/** A listener for callers that have no identity of the mesh. */
export interface EdgePort {
  readonly listen: HostPort;
  /** What it takes: exact names, and `*.` with one for everything below it. */
  readonly hosts: readonly string[];
  /** Plain HTTP when absent. */
  readonly tls?: EdgeTls | undefined;
  /** Every request is answered with the same address at this port by HTTPS. */
  readonly redirect?: { readonly port: number; readonly status: number } | undefined;
  /** TLS is not ended here: the name in its first message says where the bytes go. */
  readonly passthrough?: boolean | undefined;
  /** Addresses and blocks whose word on where a request came from is taken. */
  readonly trustedProxies: readonly string[];
  /** Addresses and blocks that may connect; everybody when absent. */
  readonly from?: readonly string[] | undefined;
}

export interface EdgeTls {
  /** The first one is also for callers that name no host. With a single one every name gets it. */
  readonly certificates: readonly EdgeCertificate[];
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
}

export interface EdgeCertificate {
  /** For which names. */
  readonly hosts: readonly string[];
  /** PEM, the leaf first; absent: the proxy's own SVID and key. */
  readonly own?: { readonly cert: string; readonly key: string } | undefined;
}

/** The one port of all its instances; `undefined` when there are several, or only DNS knows. */
export function portOfGroup({ endpoints }: Group): number | undefined {
  if (typeof endpoints === 'string' || !('static' in endpoints)) return undefined;
  const ports = new Set(
    endpoints.static.map((one) => parseHostPort(typeof one === 'string' ? one : one.address)?.port),
  );
  return ports.size === 1 ? [...ports][0] : undefined;
}

/** What `ports` became, with real ports instead of 0. */
export function portsAt(ports: Ports, { inbound, outbound, upstreams, edges }: Addresses): Ports {
  return {
    inbound,
    outbound,
    outboundFrom: ports.outboundFrom,
    behind: ports.behind,
    upstreams: ports.upstreams.map((port, nth) => ({ ...port, listen: upstreams[nth]!.address })),
    edges: ports.edges?.map((port, nth) => ({ ...port, listen: edges[nth]! })),
  };
}

/** Of a data plane that listens for peers and for its application, as that of a sidecar does. */
export type SidecarAddresses = Addresses & { readonly inbound: HostPort; readonly outbound: HostPort };

export interface Addresses {
  readonly inbound?: HostPort | undefined;
  readonly outbound?: HostPort | undefined;
  readonly upstreams: readonly { readonly name: string; readonly address: HostPort }[];
  /** In the order of the ports. */
  readonly edges: readonly HostPort[];
}

// Where a name leads: the virtual host that a request is for, and the first of its routes that matches. A name that two claim leads nowhere.
import type { ClusterEntry, ServiceEntry, VirtualServiceEntry } from '#wire';
import type { Asked, HttpAction, TunnelAction } from './action.ts';

export interface VirtualHost {
  /** Of the virtual service. */
  readonly name: string;
  /** SPIFFE ID of the service that a call to this host is a call to: what policy decides on before any route is looked at. */
  readonly id: string;
  /** The application's port of that service, when it has exactly one. */
  readonly port: number | undefined;
  http(asked: Asked): HttpAction | undefined;
  tcp(asked: Pick<Asked, 'from' | 'port'>): TunnelAction | undefined;
  tls(asked: Pick<Asked, 'from' | 'port'> & { readonly sni: string }): TunnelAction | undefined;
}

/** A cluster as it was declared, or with every default when a service has none. */
export interface RoutedCluster {
  readonly name: string;
  /** SPIFFE ID of its service. */
  readonly id: string;
  readonly entry: ClusterEntry | undefined;
  /** Present when its endpoints are the enrolled instances of a service. */
  readonly service: ServiceEntry | undefined;
}

export interface Routes {
  /** By exact host, then by the longest `*.` pattern. */
  byHost(host: string): VirtualHost | undefined;
  /** By the name of a service, a virtual service or a cluster: of ports of their own. */
  byName(name: string): VirtualHost | undefined;
  readonly clusters: ReadonlyMap<string, RoutedCluster>;
  readonly virtualHosts: readonly VirtualHost[];
  /** The nearest known host, for people who have mistyped one. */
  nearest(host: string): string | undefined;
}

export interface RoutesOptions {
  readonly services: readonly ServiceEntry[];
  readonly clusters: readonly ClusterEntry[];
  readonly virtualServices: readonly VirtualServiceEntry[];
}

// One place that serves a cluster, as load balancing looks at it.
import type { HostPort } from '#base/host-port';

export interface Endpoint extends HostPort {
  /** HOST:PORT; tells endpoints of one cluster apart. */
  readonly address: string;
  /** Of an enrolled instance; the address otherwise. */
  readonly instance: string;
  readonly labels: Readonly<Record<string, string>>;
  /** 0: gets nothing new. */
  readonly weight: number;
  readonly zone: string | undefined;
  /** What the proxy beside an enrolled instance says; checks of our own are reported to the cluster. */
  readonly isUnhealthy: boolean;
}

// What a gateway is told to be: plain values, ready to be used. Files and their syntax are the business of whoever makes them.
import type { HostPort } from '#base/host-port';
import type { MemberConfig } from './member.ts';
import type { EdgePort, Group } from './ports.ts';

export type { EdgePort, Group };

export interface GatewayConfig {
  readonly admin: HostPort;
  readonly unsafeAdminNonLoopback: boolean;
  readonly metrics: HostPort;
  /** The longest that running exchanges may go on after a listener, a service or the gateway goes. */
  readonly drainMs: number;
  /** As ADDRESS:PORT; those of the system when absent. */
  readonly nameServers?: readonly string[] | undefined;
  readonly services: readonly GatewayService[];
}

export interface GatewayService extends Pick<MemberConfig, 'ports' | 'advertise' | 'labels' | 'zone' | 'weight'> {
  readonly service: string;
  /** Reads the join token for it, where one is kept; asked only when it is needed. */
  readonly token: () => string | undefined;
  readonly limits: MemberConfig['limits'];
  readonly workers: number;
  readonly audit: MemberConfig['audit'];
}

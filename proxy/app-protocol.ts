// What an application, or a port for one, speaks: declared beside its address, never guessed from its silence.
import type { HostPort } from '#base/host-port';
import type { Tunnel } from './request-head.ts';

/** `http`: HTTP/1.1. `h2c`: HTTP/2 without TLS (prior knowledge), as gRPC servers take it. `tcp`: bytes that are nobody's business. */
export type AppProtocol = 'http' | 'h2c' | 'tcp';

export interface AppAddress extends HostPort {
  readonly protocol: AppProtocol;
}

/** Whether an application of that protocol can serve such a request. */
export function speaks(protocol: AppProtocol, tunnel: Tunnel | undefined): boolean {
  return (protocol === 'tcp') === (tunnel === 'connect');
}

// Where applications send their own calls, in the clear: loopback beside a sidecar; on the private network of a group, where only listed addresses
// may speak with the service's identity.
import type { HostPort } from '#base/host-port';
import { type AddressSet, addressSet } from './addresses.ts';
import { fail } from './errors.ts';
import { createAccepted, createNote, type Listener, type ListenOptions, openPort, turnAway } from './listen.ts';
import { serveOutbound } from './outbound.ts';
import type { UpstreamPort } from './ports.ts';
import { addressOf } from './tls-accept.ts';

export interface OutboundListener extends Listener {
  /** Connections of addresses that may no longer use it are cut. */
  allow(from: readonly string[] | undefined): void;
}

export interface OutboundOptions extends ListenOptions {
  /** The port of a declared upstream: all requests are for that service. */
  readonly port?: Pick<UpstreamPort, 'name' | 'protocol'>;
  /** Addresses and blocks that may use it; whoever can connect, when absent. */
  readonly from?: readonly string[] | undefined;
}

export async function listenOutbound(at: HostPort, o: OutboundOptions): Promise<OutboundListener> {
  const { plane, port } = o;
  const accepted = createAccepted(plane, 'outbound');
  const note = createNote(plane, 'outbound');
  let allowed: AddressSet | undefined = o.from && addressSet(o.from);
  const opened = await openPort(at, o, (socket) => {
    if (plane.live.count('outbound') >= plane.limits.connections) return turnAway(plane, socket);
    if (allowed && !allowed.has(socket.remoteAddress)) {
      const fault = fail('ADDRESS_REFUSED');
      plane.metrics.refused(fault.code);
      note(fault, { id: plane.nextId(), remote: addressOf(socket), peer: undefined });
      socket.on('error', () => undefined);
      return void socket.destroy();
    }
    socket.allowHalfOpen = true;
    const connection = accepted.add(socket);
    plane.metrics.connection('outbound');
    serveOutbound({ plane, connection, port });
  });
  return {
    ...opened,
    retire: accepted.retire,
    allow(from) {
      const next = from && addressSet(from);
      allowed = next;
      if (!next) return;
      for (const connection of [...accepted.all])
        if (!next.has(connection.socket.remoteAddress)) {
          connection.cut();
          plane.metrics.cut('address-refused');
        }
    },
  };
}

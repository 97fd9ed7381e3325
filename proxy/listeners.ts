// The listeners of one data plane as a whole: opened all or none, and brought to other ports later without touching what stays. Names say which
// listener is the same one: its kind and the address that was asked for.
import type { SecureContextOptions } from 'node:tls';
import { formatHostPort, type HostPort } from '#base/host-port';
import { addressSet } from './addresses.ts';
import { edgeOf } from './edge.ts';
import { type EdgeListener, listenEdge } from './edge-listener.ts';
import { type InboundListener, listenInbound } from './inbound-listener.ts';
import type { Listener, ListenOptions } from './listen.ts';
import { listenOutbound, type OutboundListener } from './outbound-listener.ts';
import type { Addresses, EdgePort, Ports } from './ports.ts';

export interface Listeners {
  /**
   * Brings what listens to these ports: new ones are opened before anything is changed, and none of them when one cannot be; then settings are replaced
   * and what is no longer wanted closes. Throws `PROXY_LISTEN_FAILED`.
   */
  use(ports: Ports): Promise<Addresses>;
  /** What the inbound listener shows and trusts from now on. */
  useContext(context: SecureContextOptions): void;
  /** Nothing new comes from peers; then, nothing at all. */
  stopInbound(): void;
  stop(): void;
}

interface Open {
  readonly inbound: Map<string, InboundListener>;
  readonly outbound: Map<string, OutboundListener>;
  readonly edges: Map<string, EdgeListener>;
}

export function createListeners(o: ListenOptions): Listeners {
  const open: Open = { inbound: new Map(), outbound: new Map(), edges: new Map() };
  let context: SecureContextOptions | undefined;

  const openMissing = async (ports: Ports): Promise<{ undo: () => void }> => {
    const begun: Promise<() => void>[] = [];
    const begin = <L extends Listener>(into: Map<string, L>, name: string, opening: () => Promise<L>): void => {
      if (into.has(name)) return;
      begun.push(
        opening().then((listener) => {
          into.set(name, listener);
          return () => {
            into.delete(name);
            listener.stop();
            listener.retire();
          };
        }),
      );
    };
    const named = namesOf(ports);
    for (const [name, at] of named.inbound) begin(open.inbound, name, () => listenInbound(at, o));
    for (const [name, { at, ...more }] of named.outbound)
      begin(open.outbound, name, () => listenOutbound(at, { ...o, ...more }));
    for (const [name, port] of named.edges) begin(open.edges, name, () => listenEdge(port, o));
    const results = await Promise.allSettled(begun);
    const undo = (): void => {
      for (const result of results) if (result.status === 'fulfilled') result.value();
    };
    const refused = results.find((one) => one.status === 'rejected');
    if (!refused) return { undo };
    undo();
    throw refused.reason;
  };
  const closeOthers = <L extends Listener>(listeners: Map<string, L>, wanted: ReadonlyMap<string, unknown>): void => {
    for (const [name, listener] of listeners) {
      if (wanted.has(name)) continue;
      listeners.delete(name);
      listener.stop();
      listener.retire();
    }
  };
  const all = (): Listener[] => [...open.inbound.values(), ...open.outbound.values(), ...open.edges.values()];

  return {
    async use(ports) {
      const named = namesOf(ports);
      // Whatever may be wrong with settings is found before anything changes.
      if (ports.outboundFrom) addressSet(ports.outboundFrom);
      for (const port of ports.edges ?? []) edgeOf(port);
      const opened = await openMissing(ports);
      try {
        const changes = [...named.edges].map(([name, port]) => open.edges.get(name)!.prepare(port));
        for (const change of changes) change();
      } catch (thrown) {
        opened.undo();
        throw thrown;
      }
      for (const [name, { from }] of named.outbound) open.outbound.get(name)!.allow(from);
      closeOthers(open.inbound, named.inbound);
      closeOthers(open.outbound, named.outbound);
      closeOthers(open.edges, named.edges);
      if (context) for (const listener of open.inbound.values()) listener.useContext(context);
      const addressIn = (listeners: ReadonlyMap<string, Listener>, name: string): HostPort =>
        listeners.get(name)!.address;
      const [inbound] = [...named.inbound.keys()].map((name) => addressIn(open.inbound, name));
      const outbound = named.outbound.has(ownOutbound(ports))
        ? addressIn(open.outbound, ownOutbound(ports))
        : undefined;
      return {
        inbound,
        outbound,
        upstreams: ports.upstreams.map(({ name, listen }) => ({
          name,
          address: addressIn(open.outbound, upstreamName(name, listen)),
        })),
        edges: [...named.edges.keys()].map((name) => addressIn(open.edges, name)),
      };
    },
    useContext(next) {
      context = next;
      for (const listener of open.inbound.values()) listener.useContext(next);
      for (const listener of open.edges.values()) listener.renewed();
    },
    stopInbound() {
      for (const listener of open.inbound.values()) listener.stop();
    },
    stop() {
      for (const listener of all()) listener.stop();
    },
  };
}

const ownOutbound = ({ outbound }: Ports): string => (outbound ? formatHostPort(outbound) : '');
const upstreamName = (name: string, listen: HostPort): string => `${name} ${formatHostPort(listen)}`;

function namesOf(ports: Ports) {
  const { inbound, outbound, outboundFrom, upstreams, edges = [] } = ports;
  const outbounds = new Map<
    string,
    {
      readonly at: HostPort;
      readonly from?: readonly string[] | undefined;
      readonly port?: Ports['upstreams'][number];
    }
  >();
  if (outbound) outbounds.set(ownOutbound(ports), { at: outbound, from: outboundFrom });
  for (const port of upstreams)
    outbounds.set(upstreamName(port.name, port.listen), { at: port.listen, from: outboundFrom, port });
  const named = new Map<string, EdgePort>();
  for (const port of edges) {
    const address = formatHostPort(port.listen);
    let name = address;
    // Port 0 may be asked for more than once.
    for (let nth = 2; named.has(name); nth++) name = `${address} ${nth}`;
    named.set(name, port);
  }
  return {
    inbound: new Map(inbound ? [[formatHostPort(inbound), inbound]] : []),
    outbound: outbounds,
    edges: named,
  };
}

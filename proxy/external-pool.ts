// Connections to one endpoint outside the mesh. What says who called never leaves by them, and what comes back cannot speak as a proxy of the mesh.
import type { Clock } from '#base/clock';
import type { PosternError } from '#base/error';
import type { HostPort } from '#base/host-port';
import type { ExternalLink } from './cluster-link.ts';
import type { Connection } from './connection.ts';
import type { Dialled } from './dial.ts';
import { dialExternal } from './dial-external.ts';
import { fail } from './errors.ts';
import type { Exchange, Upstream, UpstreamFault } from './exchange.ts';
import type { ExternalTrust } from './external-trust.ts';
import { fieldsForPeer } from './headers.ts';
import { Http1Upstream } from './http1/upstream.ts';
import { Http2Upstream } from './http2/client.ts';
import type { Limits } from './limits.ts';
import { type Carrier, type CarrierEvents, createLinkPool } from './link-pool.ts';
import type { Lookup } from './names.ts';
import { type AppPool, createPool, type Place, type Pool } from './pool.ts';
import type { RequestHead } from './request-head.ts';
import { TcpUpstream } from './tcp.ts';
import { whenThere } from './when-there.ts';

export interface ExternalPoolOptions {
  readonly link: ExternalLink;
  readonly endpoint: HostPort;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly lookup: Lookup;
  readonly trust: ExternalTrust;
  /** Registers the connection too. */
  readonly connectionOn: (dialled: Dialled) => Connection;
  /** Counts a failure on its way. */
  readonly counted: (dialling: Promise<Dialled>) => Promise<Dialled>;
  readonly onLimit: (limit: string) => void;
  readonly onLinkFault: (code: string) => void;
}

type Alpn = readonly ('h2' | 'http/1.1')[];

export function createExternalPool(o: ExternalPoolOptions): Pool {
  const { link, limits, clock } = o;
  const service = link.name;
  const bounds = {
    clock,
    connections: link.maxConnections ?? limits.poolConnections,
    pending: link.maxPending ?? limits.poolPending,
    pendingMs: limits.poolPendingMs,
    overloaded: () => fail('UPSTREAM_OVERLOADED', { service }),
    onLimit: o.onLimit,
  };
  const dial = (alpn: Alpn): Promise<Dialled> =>
    o.counted(
      dialExternal(o.endpoint, link, {
        clock,
        connectMs: limits.connectMs,
        lookup: o.lookup,
        alpn,
        context: o.trust.contextOf,
      }),
    );
  const optionsOn = (dialled: Dialled) => {
    const connection = o.connectionOn(dialled);
    return {
      connection,
      limits,
      monotonic: () => clock.monotonic(),
      onLimit: o.onLimit,
      responseMs: limits.responseMs,
      faultOf: (fault: UpstreamFault) => externalFault(fault, connection, service),
    };
  };
  const carrierOn = (dialled: Dialled, { onRoom, onGone }: CarrierEvents): Carrier => {
    const options = optionsOn(dialled);
    if (dialled.protocol === 'h2')
      return new Http2Upstream({
        ...options,
        scheme: link.tls ? 'https' : 'http',
        idleMs: limits.poolIdleMs,
        onRoom,
        onGone,
        onFault: (fault) => o.onLinkFault(fault.code),
      });
    return new Http1Upstream({
      ...options,
      onGone,
      onIdle(upstream, announcedMs = Number.POSITIVE_INFINITY) {
        // A second less than the server says, so that we close first.
        const ms = Math.min(limits.appIdleMs, announcedMs - 1_000);
        if (ms <= 0) return upstream.retire();
        upstream.connection.deadline = clock.monotonic() + ms;
        onRoom();
      },
    });
  };
  const httpPool = (alpn: Alpn): Pool =>
    createLinkPool({
      ...bounds,
      expected: alpn[0] === 'h2' ? limits.http2Streams : 1,
      dial: async (events) => carrierOn(await dial(alpn), events),
    });
  const tcpPool = (): Pool =>
    createPool({
      ...bounds,
      idleMs: 0,
      dial: async (pool: AppPool) =>
        new TcpUpstream({ ...optionsOn(await dial([])), onGone: (upstream) => pool.gone(upstream) }),
    });

  const main = link.protocol === 'tcp' ? tcpPool() : httpPool(alpnOf(link));
  let webSockets: Pool | undefined;
  let isRetired = false;
  /** Few servers take a WebSocket over HTTP/2 (RFC 8441): those that speak both protocols are asked in the older one. */
  const poolFor = (tunnel: RequestHead['tunnel']): Pool => {
    if (tunnel !== 'websocket' || link.protocol !== 'http' || !link.tls) return main;
    if (!webSockets) {
      webSockets = httpPool(['http/1.1']);
      if (isRetired) webSockets.retire();
    }
    return webSockets;
  };
  return {
    take(wanted = {}) {
      const taken = poolFor(wanted.tunnel).take(wanted);
      return whenThere(taken, (place) => outward(place, link));
    },
    retire() {
      isRetired = true;
      main.retire();
      webSockets?.retire();
    },
  };
}

function alpnOf({ protocol, tls }: ExternalLink): Alpn {
  if (protocol === 'h2c') return ['h2'];
  return tls ? ['h2', 'http/1.1'] : ['http/1.1'];
}

/** The border of the mesh. */
function outward(place: Place, link: ExternalLink): Place {
  return {
    start(exchange, fields) {
      const fault = protocolFault(exchange, link);
      if (fault) return refused(place, exchange, fault);
      exchange.isFromOutside = true;
      return place.start(exchange, link.isOurs ? fields : fieldsForPeer(fields));
    },
    release: () => place.release(),
  };
}

function protocolFault({ head }: Exchange, { name, protocol }: ExternalLink): PosternError | undefined {
  const isTcp = protocol === 'tcp';
  if (isTcp === (head.tunnel === 'connect')) return undefined;
  const wanted = isTcp ? 'an HTTP request' : 'a tunnel';
  return fail('UPSTREAM_PROTOCOL_WRONG', { service: name, protocol, wanted });
}

function refused(place: Place, exchange: Exchange, fault: PosternError): Upstream {
  place.release();
  queueMicrotask(() => exchange.responseFail(fault, undefined));
  return nowhere;
}
const nowhere: Upstream = {
  data: () => true,
  end: () => undefined,
  abort: () => undefined,
  pauseResponse: () => undefined,
  resumeResponse: () => undefined,
};

function externalFault(fault: UpstreamFault, { fault: cause }: Connection, service: string): PosternError {
  if (fault.kind === 'timeout') return fail('UPSTREAM_TIMEOUT', { service, ms: fault.ms });
  if (fault.kind === 'invalid') return fail('UPSTREAM_REPLY_INVALID', { service, reason: fault.reason });
  const demand = demanded[cause?.code ?? ''];
  // TLS 1.3 says so only after the handshake has ended for us.
  if (demand) return fail('UPSTREAM_CLIENT_CERTIFICATE_REFUSED', { service, reason: demand }, { cause });
  return fail('UPSTREAM_CLOSED', { service }, { cause });
}

const demanded: Readonly<Record<string, string>> = {
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'it wants one, and the cluster names none',
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: 'it finds it broken',
  ERR_SSL_SSL_V3_ALERT_BAD_CERTIFICATE: 'it finds it broken',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: 'it has expired',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'it does not trust its issuer',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN: 'it does not accept it',
};

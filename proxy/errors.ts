// Why a connection, a request or a call onward failed. Codes are audit reasons, metric labels and the `code` of error replies.
import { defineErrors } from '#base/error';

const refused = 'the request was refused';

export const proxyErrors = {
  LIMIT_CONNECTIONS: {
    message: 'too many connections are open (at most {limit})',
    hint: 'raise limits.connections, or spread the load over more instances',
    status: 503,
    retryable: true,
  },
  LIMIT_EXCHANGES: {
    message: 'too many requests are in progress (at most {limit}, and one caller alone gets half)',
    hint: 'raise limits.exchanges, or spread the load over more instances',
    status: 503,
    retryable: true,
  },
  LIMIT_BYTES: {
    message: 'too many bytes wait in this proxy (at most {limit}), and most of them for this caller',
    hint: 'read answers as they come, or raise limits.processBytes',
    status: 503,
    retryable: true,
  },
  LIMIT_HANDSHAKES: {
    message: 'too many TLS handshakes are in progress (at most {limit})',
    status: 503,
    retryable: true,
  },

  TLS_HANDSHAKE_TIMEOUT: { message: 'the TLS handshake took longer than {ms} ms', status: 400, retryable: true },
  TLS_HANDSHAKE_FAILED: { message: 'the TLS handshake failed: {reason}', status: 400, retryable: false },
  TLS_HANDSHAKE_CLOSED: { message: 'the caller closed before the TLS handshake ended', status: 400, retryable: true },
  TLS_NOT_TLS: { message: 'the first bytes were not TLS', status: 400, retryable: false },
  TLS_VERSION_UNSUPPORTED: { message: 'the caller does not speak TLS 1.3', status: 400, retryable: false },
  TLS_ALPN_UNSUPPORTED: {
    message: 'the caller offers neither h2 nor http/1.1 by ALPN',
    hint: 'offer the protocol h2 or http/1.1 in the TLS handshake',
    status: 400,
    retryable: false,
  },
  TLS_CERTIFICATE_MISSING: { message: 'the caller sent no certificate', status: 401, retryable: false },
  TLS_CERTIFICATE_EXPIRED: { message: 'the certificate has expired', status: 401, retryable: false },
  TLS_CERTIFICATE_NOT_YET_VALID: {
    message: 'the certificate is not valid yet',
    hint: 'compare the clocks of both machines',
    status: 401,
    retryable: true,
  },
  TLS_CERTIFICATE_UNTRUSTED: { message: 'the certificate is refused: {reason}', status: 401, retryable: false },
  TLS_NAME_UNKNOWN: {
    message: 'there is no certificate for {name}',
    hint: 'list a certificate for it under tls.certificates of the listener',
    status: 421,
    retryable: false,
  },
  TLS_HELLO_INVALID: {
    message: 'the connection cannot be passed on by its server name: {reason}',
    status: 400,
    retryable: false,
  },
  TLS_NOT_READY: { message: 'this proxy has no valid identity or no trust bundle', status: 503, retryable: true },
  PEER_BANNED: { message: '{id} is banned', status: 403, retryable: false },

  ADDRESS_REFUSED: {
    message: 'this address may not use the listener',
    hint: 'list it under from of the listener',
    status: 403,
    retryable: false,
  },

  HTTP_REQUEST_INVALID: { message: 'the request is not valid HTTP: {reason}', status: 400, retryable: false },
  HTTP_TARGET_INVALID: { message: 'the request target is refused: {reason}', status: 400, retryable: false },
  HTTP_HEADER_REFUSED: { message: 'the header {name} is refused: {reason}', status: 400, retryable: false },
  HTTP_BODY_INVALID: { message: 'the request body is not valid HTTP: {reason}', status: 400, retryable: false },
  HTTP_BODY_TOO_LARGE: {
    message: 'the request body is larger than the {limit} bytes that the route takes',
    status: 413,
    retryable: false,
  },
  HTTP_URI_TOO_LONG: { message: 'the request target is longer than {limit} bytes', status: 414, retryable: false },
  HTTP_HEAD_TOO_LARGE: { message: 'the request head is larger than {limit}', status: 431, retryable: false },
  HTTP_VERSION_UNSUPPORTED: { message: 'only HTTP/1.1 and HTTP/1.0 are spoken here', status: 505, retryable: false },
  HTTP_METHOD_UNSUPPORTED: { message: 'the method is not supported', status: 501, retryable: false },
  HTTP_METHOD_REFUSED: { message: 'the method {method} is never forwarded', status: 405, retryable: false },
  HTTP_CODING_UNSUPPORTED: { message: 'only the transfer coding chunked is supported', status: 501, retryable: false },
  HTTP_UPGRADE_REFUSED: { message: 'a protocol upgrade is not allowed here', status: 501, retryable: false },
  HTTP_EXPECTATION_FAILED: { message: 'the only expectation met is 100-continue', status: 417, retryable: false },
  HTTP_TIMEOUT: { message: 'the {what} took longer than {ms} ms', status: 408, retryable: true },
  DOWNSTREAM_CLOSED: { message: 'the caller went away', status: 499, retryable: true },

  ACCESS_DENIED: {
    message: 'access is denied by policy',
    hint: 'run: postern policy why {from} {to} {method} {path}',
    status: 403,
    retryable: false,
    exposed: 'access is denied',
  },
  EDGE_HOST_UNKNOWN: {
    message: 'nothing outside the mesh is served as {host}',
    hint: 'list it under hosts of the listener, and apply a VirtualService with it that the edge may call',
    status: 404,
    retryable: false,
    exposed: 'there is nothing here',
  },
  EDGE_MISDIRECTED: {
    message: '{host} has another certificate than {serverName}, for which the connection was made',
    status: 421,
    retryable: true,
    exposed: 'this host is not served on this connection',
  },
  ACCESS_TOKEN_NEEDED: {
    message: 'access needs a valid token of whoever asks',
    hint: 'send it as Authorization: Bearer; its issuer is a JwtIssuer resource',
    status: 401,
    retryable: false,
  },
  PROXY_NOT_READY: {
    message: 'this proxy has no configuration from the control plane yet',
    hint: 'look at the sidecar log; run: postern status',
    status: 503,
    retryable: true,
  },
  SERVICE_UNKNOWN: {
    message: 'no rule lets {from} call {name}, or no service has that name{suggestion}',
    hint: 'run: postern policy why {from} {name} {method} {path}',
    status: 403,
    retryable: false,
    exposed: 'access is denied',
  },
  ROUTE_UNMATCHED: {
    message: 'no route of the virtual service {virtualService} matches {method} {path}',
    hint: 'run: postern route {from} {url}',
    status: 404,
    retryable: false,
  },
  RATE_LIMITED: {
    message: 'the route takes no more requests now; again in {seconds} s',
    status: 429,
    retryable: true,
  },
  SERVICE_WITHOUT_ENDPOINTS: {
    message: 'no instance of {service} is running',
    hint: 'run: postern status',
    status: 503,
    retryable: true,
  },

  UPSTREAM_CONNECT_FAILED: {
    message: 'cannot connect to {service} at {endpoint}: {reason}',
    status: 503,
    retryable: true,
  },
  UPSTREAM_TIMEOUT: { message: '{service} did not answer within {ms} ms', status: 504, retryable: true },
  UPSTREAM_IDENTITY_WRONG: {
    message: '{endpoint} did not prove that it is {service}: {reason}',
    hint: 'another program may hold that address, or its certificate has expired; run: postern status',
    status: 502,
    retryable: true,
  },
  UPSTREAM_CLOSED: {
    message: '{service} closed the connection before it answered in full',
    status: 502,
    retryable: true,
  },
  UPSTREAM_REPLY_INVALID: {
    message: 'the answer of {service} is not valid HTTP: {reason}',
    status: 502,
    retryable: false,
  },
  UPSTREAM_OVERLOADED: {
    message: 'too many requests wait for a connection to {service}',
    status: 503,
    retryable: true,
  },
  OUTSIDE_FORBIDDEN: {
    message: '{host} is not called: {reason}, and nothing declares it',
    hint: 'declare a Cluster for what this service has to call',
    status: 403,
    retryable: false,
    exposed: 'access is denied',
  },
  UPSTREAM_PROTOCOL_WRONG: {
    message: 'the cluster {service} is declared with protocol {protocol}, and the call is {wanted}',
    hint: 'an application that begins TLS itself needs a cluster with `protocol: tcp`; with `tls` in the cluster, call it by http://',
    status: 502,
    retryable: false,
  },
  UPSTREAM_CLIENT_CERTIFICATE: {
    message: 'the client certificate {name} cannot be used: {reason}',
    hint: 'put {name}.crt and {name}.key (mode 0600) into sidecar/client-certificates/ of this proxy home',
    status: 503,
    retryable: false,
  },
  UPSTREAM_CLIENT_CERTIFICATE_REFUSED: {
    message: '{service} refuses our client certificate: {reason}',
    hint: 'look at tls.clientCertificate of the cluster and at the certificate that it names',
    status: 502,
    retryable: false,
  },
  APP_CONNECT_FAILED: {
    message: 'the application at {endpoint} cannot be reached: {reason}',
    hint: 'check that the application runs and listens where --app says',
    status: 503,
    retryable: true,
  },
  APP_TIMEOUT: { message: 'the application did not answer within {ms} ms', status: 504, retryable: true },
  APP_CLOSED: {
    message: 'the application closed the connection before it answered in full',
    status: 502,
    retryable: true,
  },
  APP_REPLY_INVALID: {
    message: 'the answer of the application is not valid HTTP: {reason}',
    status: 502,
    retryable: false,
  },
  APP_PROTOCOL_WRONG: {
    message: 'the application of {service} speaks {protocol}, and the request was for {wanted}',
    hint: 'call a TCP service by a port of its own (--upstream NAME=tcp://HOST:PORT) or by CONNECT, any other by HTTP',
    status: 502,
    retryable: false,
  },
  APP_OVERLOADED: { message: 'too many requests wait for the application', status: 503, retryable: true },

  PROXY_FAULT: { message: 'the proxy failed: {reason}', status: 500, retryable: true, exposed: refused },
  PROXY_WORKERS_UNSUPPORTED: {
    message: '{workers} workers cannot share ports here: {platform} does not spread connections over them, Linux does',
    hint: 'leave --workers at 1; run more instances of the service, each with its own sidecar',
    status: 500,
    retryable: false,
  },
  PROXY_LISTEN_FAILED: {
    message: 'cannot listen on {address}: {reason}',
    hint: 'another program may hold the port; choose another, or 0 for any free one',
    status: 500,
    retryable: true,
  },
  SNAPSHOT_REFUSED: { message: 'snapshot {revision} is refused: {reason}', status: 400, retryable: false },
} as const;

export const fail = defineErrors(proxyErrors);

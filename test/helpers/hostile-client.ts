// A client that no honest program is: it takes any server for granted. The only place of its kind, and only for tests.
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';

export function connectCarelessly(options: ConnectionOptions): TLSSocket {
  return connect({ ...options, rejectUnauthorized: false });
}

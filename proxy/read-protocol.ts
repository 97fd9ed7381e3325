// HTTP/1.1 or HTTP/2 (prior knowledge, RFC 9113 section 3.3)? On a plain port the caller's first bytes tell: the preface of HTTP/2 was made so that no
// HTTP/1.1 request begins like it. Callers of HTTP speak first, so nothing is guessed from silence.
import type { Connection, ConnectionHandler } from './connection.ts';
import type { LinkProtocol } from './dial.ts';
import type { Limits } from './limits.ts';

const mark = Buffer.from('PRI ', 'latin1');

export interface ReadProtocolOptions {
  readonly limits: Limits;
  readonly monotonic: () => number;
}

/** Calls `begin` once, when the first bytes have come; it puts a codec on the connection, which then gets those bytes. */
export function readProtocol(
  connection: Connection,
  { limits, monotonic }: ReadProtocolOptions,
  begin: (protocol: LinkProtocol) => void,
): void {
  let first: Buffer | undefined;
  const decide = (): void => {
    const bytes = first!;
    const size = Math.min(bytes.length, mark.length);
    const isMarked = mark.compare(bytes, 0, size, 0, size) === 0;
    if (isMarked && bytes.length < mark.length) return;
    begin(isMarked ? 'h2' : 'http/1.1');
    connection.handler.read(bytes);
  };
  /** There will be no more bytes to tell by: HTTP/1.1 has words for that. */
  const asHttp1 = (): ConnectionHandler => {
    begin('http/1.1');
    if (first) connection.handler.read(first);
    return connection.handler;
  };
  const handler: ConnectionHandler = {
    read(bytes) {
      first = first ? Buffer.concat([first, bytes]) : Buffer.from(bytes);
      decide();
    },
    ended: () => asHttp1().ended(),
    closed: () => undefined,
    drained: () => undefined,
    expired: () => asHttp1().expired(),
    retire: () => asHttp1().retire(),
  };
  connection.handler = handler;
  connection.deadline = monotonic() + limits.headMs;
}

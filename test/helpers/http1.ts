// Feeds bytes to our HTTP/1.1 server codec and to llhttp as Node has it, without sockets, and says what each of them understood.
import common from 'node:_http_common';
import { parseAuthority } from '../../proxy/authority.ts';
import type { Connection, ConnectionHandler } from '../../proxy/connection.ts';
import type { Downstream, Exchange } from '../../proxy/exchange.ts';
import { Http1Downstream } from '../../proxy/http1/downstream.ts';
import { defaultLimits, type Limits } from '../../proxy/limits.ts';
import { canonicalHead } from '../../proxy/request-head.ts';

export interface Understood {
  readonly method: string;
  readonly target: string;
  /** Lower-case names with their values, as they came. */
  readonly fields: readonly (readonly [string, string])[];
  body: string;
  complete: boolean;
}

export interface Reading {
  readonly requests: readonly Understood[];
  /** What the codec wrote, and whether it has closed. */
  readonly written: string;
  readonly isClosed: boolean;
  readonly fault: string | undefined;
}

/** Fields that the codec takes out because they concern one connection or are kept in a form of their own. */
export const takenOut =
  /^(?:host|content-length|transfer-encoding|connection|keep-alive|proxy-connection|te|trailer|expect|upgrade|http2-settings|proxy-authorization|proxy-authenticate)$/;

/** Our codec; every request is answered 200 as soon as it is complete. */
export function readOurs(pieces: readonly Buffer[], limits: Partial<Limits> = {}): Reading {
  const requests: Understood[] = [];
  let written = '';
  let isClosed = false;
  let fault: string | undefined;
  const connection = {
    handler: undefined as unknown as ConnectionHandler,
    deadline: 0,
    isRetired: false,
    isBlocked: false,
    isClosed: false,
    write: (piece: string | Buffer) => {
      written += typeof piece === 'string' ? piece : piece.toString('latin1');
      return true;
    },
    pause: () => undefined,
    resume: () => undefined,
    finish: () => {
      isClosed = true;
    },
    cut: () => {
      isClosed = true;
    },
  };
  new Http1Downstream({
    connection: connection as unknown as Connection,
    limits: { ...defaultLimits, ...limits },
    monotonic: () => 0,
    onRequest(head, downstream) {
      canonicalHead(head, { parseAuthority });
      const request: Understood = {
        method: head.method,
        target: head.target,
        fields: pairs(head.fields),
        body: '',
        complete: head.length === 0,
      };
      requests.push(request);
      const exchange = {
        isOver: false,
        requestData: (bytes: Buffer) => {
          request.body += bytes.toString('latin1');
        },
        requestEnd: () => {
          request.complete = true;
          answer(downstream);
        },
        requestAbort: (thrown: { message: string }) => {
          fault = thrown.message;
          downstream.abort(true);
        },
        downstreamReady: () => undefined,
      };
      if (request.complete) {
        exchange.isOver = true;
        answer(downstream);
      } else queueMicrotaskNow(() => downstream.resumeRequest());
      return exchange as unknown as Exchange;
    },
    onInvalid(thrown, downstream) {
      fault = `${thrown.code} ${thrown.message}`;
      downstream.head({ status: thrown.status, reason: 'No', fields: [], length: 0 });
      downstream.end([]);
    },
    onClosed: () => undefined,
    onLimit: () => undefined,
  });
  const later: (() => void)[] = [];
  function queueMicrotaskNow(run: () => void): void {
    later.push(run);
  }
  const settle = (): void => {
    for (let run = later.shift(); run; run = later.shift()) run();
  };
  for (const piece of pieces) {
    if (isClosed) break;
    connection.handler.read(piece);
    settle();
  }
  return { requests, written, isClosed, fault };
}

function answer(downstream: Downstream): void {
  downstream.head({ status: 200, reason: 'OK', fields: [], length: 2 });
  downstream.data(Buffer.from('ok'));
  downstream.end([]);
}

/** llhttp, strict, as `node:http` runs it. */
export function readLlhttp(pieces: readonly Buffer[]): Reading {
  const { HTTPParser, allMethods, methods } = common as unknown as LlhttpParts;
  const names = allMethods ?? methods;
  const requests: Understood[] = [];
  let collected: string[] = [];
  let collectedUrl = '';
  let inHead = true;
  const parser = new HTTPParser();
  parser.initialize(HTTPParser.REQUEST, {}, 80_000, 0);
  parser[HTTPParser.kOnMessageBegin] = () => {
    collected = [];
    collectedUrl = '';
    inHead = true;
  };
  // Called before the head is complete when it has many fields, or once a message had trailers.
  parser[HTTPParser.kOnHeaders] = (headers: string[], url: string) => {
    if (!inHead) return;
    collected.push(...headers);
    collectedUrl += url;
  };
  parser[HTTPParser.kOnHeadersComplete] = (
    _: number,
    __: number,
    headers: string[] | undefined,
    method: number,
    url: string | undefined,
  ) => {
    inHead = false;
    const fields = pairs(headers ?? collected).map(([name, value]) => [name.toLowerCase(), value] as const);
    requests.push({ method: names[method]!, target: url ?? collectedUrl, fields, body: '', complete: false });
    return 0;
  };
  parser[HTTPParser.kOnBody] = (bytes: Buffer) => {
    requests.at(-1)!.body += bytes.toString('latin1');
  };
  parser[HTTPParser.kOnMessageComplete] = () => {
    requests.at(-1)!.complete = true;
  };
  let fault: string | undefined;
  for (const piece of pieces) {
    const result: unknown = parser.execute(piece);
    if (result instanceof Error) {
      fault = (result as Error & { code?: string }).code ?? result.message;
      break;
    }
  }
  parser.free();
  return { requests, written: '', isClosed: fault !== undefined, fault };
}

interface LlhttpParts {
  // biome-ignore lint/suspicious/noExplicitAny: an internal of Node without types
  readonly HTTPParser: any;
  readonly allMethods?: readonly string[];
  readonly methods: readonly string[];
}

function pairs(flat: readonly string[]): (readonly [string, string])[] {
  const list: (readonly [string, string])[] = [];
  for (let at = 0; at < flat.length; at += 2) list.push([flat[at]!, flat[at + 1]!]);
  return list;
}

// Whatever our HTTP/1.1 codec accepts, llhttp accepts with the same meaning; and what is sent on means the same once more.
import { parseAuthority } from '../../proxy/authority.ts';
import type { Exchange } from '../../proxy/exchange.ts';
import { mayTrail } from '../../proxy/http1/chunked.ts';
import { Http1Upstream } from '../../proxy/http1/upstream.ts';
import { chunkedEnd, chunkHead, requestText, responseText } from '../../proxy/http1/write.ts';
import { defaultLimits } from '../../proxy/limits.ts';
import { canonicalHead, type RequestHead, unknownLength } from '../../proxy/request-head.ts';
import { fakeConnection, pairs, parse, readLlhttp, readOurs, takenOut, type Understood } from '../helpers/http1.ts';
import type { Answering } from './http1-text.ts';

type Pairs = readonly (readonly [string, string])[];

/** What is different, or how many messages both took. */
export type Verdict = string | number;

export function checkRequests(pieces: readonly Buffer[]): Verdict {
  const ours = readOurs(pieces);
  const theirs = readLlhttp(pieces);
  for (const [index, mine] of ours.requests.entries()) {
    const other = theirs.requests[index];
    if (!other) return `only ours saw request ${index}; theirs: ${theirs.fault}`;
    const wrong = requestDifference(mine, other);
    if (wrong) return `request ${index}: ${wrong}`;
    // A body that was refused half-way was never accepted.
    if (mine.complete || !ours.isClosed) {
      if (!mine.isUpgrade && mine.complete !== other.complete) return `request ${index}: only one of them is complete`;
      if (mine.body !== other.body) return `request ${index}: the body is ${JSON.stringify(mine.body)} for us`;
      if (listed(mine.trailers) !== listed(other.trailers.filter(([name]) => mayTrail(name))))
        return `request ${index}: the trailers are ${JSON.stringify(mine.trailers)} for us`;
    }
    if (mine.complete) {
      const lost = forwardedRequest(mine);
      if (lost) return `request ${index}, sent on: ${lost}`;
    }
  }
  if (!ours.isClosed && ours.requests.length < theirs.requests.length) return 'ours waits for what theirs has';
  return ours.requests.filter(({ complete }) => complete).length;
}

function requestDifference(mine: Understood, other: Understood): string | undefined {
  if (mine.method !== other.method) return `the method is ${mine.method} for us`;
  if (mine.target !== other.target) return `the target is ${mine.target} for us`;
  if (mine.isChunked !== other.isChunked) return 'only one of them reads chunks';
  if (mine.isUpgrade !== other.isUpgrade) return 'only one of them reads a tunnel';
  if (mine.keepAlive && !other.keepAlive) return 'we keep the connection';
  const host = other.fields.filter(([name]) => name === 'host');
  if (host.length !== 1 || parseAuthority(host[0]![1]).text !== mine.head!.authority)
    return `Host is ${mine.head!.authority} for us`;
  const length = other.fields.find(([name]) => name === 'content-length');
  if (!mine.isUpgrade && !mine.isChunked && mine.head!.length !== Number(length?.[1] ?? 0))
    return `the length is ${mine.head!.length} for us`;
  return fieldDifference(mine.fields, other.fields);
}

function fieldDifference(mine: Pairs, other: Pairs): string | undefined {
  const named = other
    .filter(([name]) => name === 'connection')
    .flatMap(([, value]) =>
      value
        .toLowerCase()
        .split(',')
        .map((option) => option.trim()),
    );
  const isKept = ([name]: readonly [string, string]): boolean =>
    !takenOut.test(name) && !webSocket.test(name) && !named.includes(name);
  const left = mine.filter(isKept);
  const right = other.filter(isKept);
  return listed(left) === listed(right)
    ? undefined
    : `the fields are ${JSON.stringify(left)} for us, ${JSON.stringify(right)} for llhttp`;
}
const webSocket = /^sec-websocket-(?:key|accept)$/;

const listed = (all: Pairs): string => all.map(([name, value]) => `${name}: ${value}`).join('\n');

/** A complete request as it leaves, read by llhttp: one request, and nothing beside it. */
function forwardedRequest({ head, body, trailers }: Understood): string | undefined {
  const sent = head!;
  let text = requestText(sent, sent.fields);
  if (sent.length === unknownLength)
    text += `${body === '' ? '' : `${chunkHead(body.length)}${body}\r\n`}${chunkedEnd(trailers.flat())}`;
  else text += body;
  const { requests, fault } = readLlhttp([Buffer.from(text, 'latin1')]);
  const [only, more] = requests;
  if (fault || !only?.complete || more) return `${requests.length} requests, ${fault}`;
  if (only.method !== sent.method || only.target !== sent.path + sent.query) return `${only.method} ${only.target}`;
  if (only.body !== body || listed(only.trailers) !== listed(trailers)) return `the body ${JSON.stringify(only.body)}`;
  if (listed(only.fields.filter(([name]) => !framing.test(name))) !== listed(pairs(sent.fields))) return 'other fields';
  // Folding is done once: the same head comes of what is sent on.
  const again = canonicalHead(
    { ...sent, target: only.target, host: only.fields.find(([name]) => name === 'host')![1], tunnel: undefined },
    { parseAuthority },
  );
  if (again.path !== sent.path || again.query !== sent.query || again.authority !== sent.authority)
    return `folded again to ${again.path}`;
  return undefined;
}
const framing = /^(?:host|content-length|transfer-encoding|expect)$/;

interface Answer {
  status: number;
  reason: string;
  fields: Pairs;
  isChunked: boolean;
  length: number;
  body: string;
  trailers: Pairs;
  complete: boolean;
  interim: number[];
  keepAlive: boolean;
}

const headOf = (method: string): RequestHead => ({
  method,
  authority: 'a',
  host: 'a',
  path: '/',
  query: '',
  fields: [],
  length: 0,
  expectsContinue: false,
  tunnel: undefined,
});

export function checkResponses(answerings: readonly Answering[]): Verdict {
  const { connection } = fakeConnection();
  const state = { mine: undefined as Answer | undefined, fault: '', isIdle: true, isGone: false };
  const upstream = new Http1Upstream({
    connection,
    limits: defaultLimits,
    responseMs: 1_000,
    monotonic: () => 0,
    faultOf: (fault) => fault as never,
    onLimit: () => undefined,
    onIdle: () => {
      state.isIdle = true;
    },
    onGone: () => {
      state.isGone = true;
    },
  });
  let theirs: Answer | undefined;
  let stray = false;
  let method = '';
  const read = parse('RESPONSE', {
    head({ status, reason, headers, isUpgrade, keepAlive }) {
      if (!theirs || theirs.complete) {
        stray = true;
        return 0;
      }
      if (status < 200 && !isUpgrade) {
        theirs.interim.push(status);
        theirs.status = status;
        return 0;
      }
      const fields = pairs(headers).map(([name, value]) => [name.toLowerCase(), value] as const);
      const isChunked = fields.some(([name]) => name === 'transfer-encoding');
      const length = Number(fields.find(([name]) => name === 'content-length')?.[1] ?? unknownLength);
      Object.assign(theirs, { status, reason, fields, isChunked, length, keepAlive });
      return method === 'HEAD' ? 1 : 0;
    },
    body(bytes) {
      if (theirs && !stray) theirs.body += bytes.toString('latin1');
    },
    complete(trailers) {
      if (!theirs || theirs.status < 200 || stray) return;
      theirs.trailers = pairs(trailers).map(([name, value]) => [name.toLowerCase(), value] as const);
      theirs.complete = true;
    },
  });
  const finished: [Answer, string][] = [];
  for (const [index, { method: asked, pieces, ends }] of answerings.entries()) {
    if (!state.isIdle || state.isGone) break;
    method = asked;
    theirs = empty();
    const mine = empty();
    state.mine = mine;
    state.isIdle = false;
    state.fault = '';
    upstream.start(
      exchangeOf(mine, headOf(asked), (fault) => (state.fault = fault)),
      [],
    );
    for (const piece of pieces) {
      if (state.isGone || state.fault !== '') break;
      connection.handler.read(piece);
      read.execute(piece);
    }
    if (ends && !state.isGone && state.fault === '') {
      connection.handler.ended();
      read.finish();
    }
    const wrong = responseDifference(mine, theirs, state.fault !== '', state.isIdle && !state.isGone);
    if (wrong) return `response ${index}: ${wrong}; llhttp: ${read.fault}`;
    if (mine.complete) {
      if (read.fault && state.isIdle && !state.isGone)
        return `response ${index}: we use the connection again; llhttp: ${read.fault}`;
      if (stray && state.isIdle && !state.isGone)
        return `response ${index}: we use the connection again in spite of more bytes`;
      // llhttp says so before it hears that an answer to HEAD has no body.
      const isTold = asked !== 'HEAD' || theirs.isChunked || theirs.length !== unknownLength;
      if (state.isIdle && !state.isGone && !theirs.keepAlive && isTold)
        return `response ${index}: we use a connection again that llhttp closes`;
      finished.push([mine, asked]);
    }
  }
  for (const [index, [mine, asked]] of finished.entries()) {
    const lost = forwardedResponse(mine, asked);
    if (lost) return `response ${index}, sent on: ${lost}`;
  }
  return finished.length;
}

const empty = (): Answer => ({
  status: 0,
  reason: '',
  fields: [],
  isChunked: false,
  length: unknownLength,
  body: '',
  trailers: [],
  complete: false,
  interim: [],
  keepAlive: false,
});

function exchangeOf(mine: Answer, head: RequestHead, failed: (fault: string) => void): Exchange {
  const exchange = {
    head,
    outgoing: head,
    responseInform: ({ status }: { status: number }) => void mine.interim.push(status),
    responseHead({
      status,
      reason,
      fields,
      chunked,
      length,
    }: {
      status: number;
      reason: string;
      fields: string[];
      chunked: boolean;
      length: number;
    }) {
      Object.assign(mine, { status, reason, fields: pairs(fields), isChunked: chunked, length });
    },
    responseData: (bytes: Buffer) => {
      mine.body += bytes.toString('latin1');
    },
    responseEnd: (trailers: string[]) => {
      mine.trailers = pairs(trailers);
      mine.complete = true;
    },
    responseFail: (fault: { kind: string; reason?: string }) => failed(`${fault.kind} ${fault.reason ?? ''}`),
    upstreamReady: () => undefined,
  };
  return exchange as unknown as Exchange;
}

function responseDifference(mine: Answer, theirs: Answer, hasFailed: boolean, isReusable: boolean): string | undefined {
  if (mine.status === 0) return !hasFailed && theirs.status >= 200 ? 'ours waits for what theirs has' : undefined;
  if (mine.status !== theirs.status) return `the status is ${mine.status} for us, ${theirs.status} for llhttp`;
  if (mine.reason !== '' && mine.reason !== theirs.reason) return `the reason is ${mine.reason} for us`;
  if (mine.interim.join() !== theirs.interim.join()) return `the interim responses are ${mine.interim} for us`;
  if (mine.isChunked !== theirs.isChunked) return 'only one of them reads chunks';
  if (mine.length !== theirs.length) return `the length is ${mine.length} for us`;
  const wrong = fieldDifference(mine.fields, theirs.fields);
  if (wrong) return wrong;
  if (hasFailed) return undefined;
  // Their length means nothing (RFC 9110 section 8.6), and llhttp reads chunks all the same: so the connection is not used again.
  if ((mine.status === 204 || mine.status === 304) && mine.isChunked)
    return isReusable ? 'we use a connection again after chunks of no body' : undefined;
  if (mine.complete !== theirs.complete) return `only one of them is complete: ours ${mine.complete}`;
  if (mine.body !== theirs.body) return `the body is ${JSON.stringify(mine.body)} for us`;
  if (mine.complete && listed(mine.trailers) !== listed(theirs.trailers.filter(([name]) => mayTrail(name))))
    return 'the trailers differ';
  return undefined;
}

/** A complete response as the caller gets it, read by llhttp. */
function forwardedResponse(mine: Answer, method: string): string | undefined {
  const isBodyless = method === 'HEAD' || mine.status === 204 || mine.status === 304;
  const frame = isBodyless ? 'none' : mine.length !== unknownLength ? 'length' : 'chunked';
  let text = responseText(
    { status: mine.status, reason: mine.reason, fields: mine.fields.flat(), length: mine.length },
    { framing: frame, close: false, minor: 1 },
  );
  if (frame === 'chunked')
    text += `${mine.body === '' ? '' : `${chunkHead(mine.body.length)}${mine.body}\r\n`}${chunkedEnd(mine.trailers.flat())}`;
  else text += mine.body;
  let [heads, completes] = [0, 0];
  let body = '';
  let fields: Pairs = [];
  let status = 0;
  const again = parse('RESPONSE', {
    head(head) {
      heads++;
      status = head.status;
      fields = pairs(head.headers).filter(([name]) => !framing.test(name));
      return method === 'HEAD' ? 1 : 0;
    },
    body: (bytes) => {
      body += bytes.toString('latin1');
    },
    complete: () => {
      completes++;
    },
  });
  again.execute(Buffer.from(text, 'latin1'));
  if (again.fault || heads !== 1 || completes !== 1) return `${heads} heads, ${completes} messages, ${again.fault}`;
  if (status !== mine.status || body !== mine.body) return `status ${status}, body ${JSON.stringify(body)}`;
  if (listed(fields) !== listed(mine.fields)) return 'other fields';
  return undefined;
}

// HTTP/1.1 messages as a fuzzer makes them: mostly well-formed, with what parsers are known to disagree about, then perhaps damaged and cut.
import type { Random } from './random.ts';

const methods = ['GET', 'GET', 'GET', 'POST', 'POST', 'PUT', 'HEAD', 'DELETE', 'OPTIONS', 'PATCH', 'PURGE', 'QUERY'];
const oddMethods = [
  'CONNECT',
  'TRACE',
  'get',
  'PRI',
  'M-SEARCH',
  'SOURCE',
  'DESCRIBE',
  'GE T',
  'FLUSH',
  'PROPFIND',
  '',
];
const targets = [
  '/',
  '/a',
  '/a/b?c=d',
  '/a/../b',
  '/%2e%2e/x',
  '//b',
  '/?',
  '/a?b?c=/',
  '/~x',
  'http://a/b',
  'http://A:80/?q',
  '*',
];
const oddTargets = [
  '',
  'a',
  '/a#b',
  '/a b',
  '/%',
  '/%00',
  '/;x',
  '/\\',
  'http://b/',
  'https://a/',
  'a:80',
  '/\x80',
  '/\x00',
  'http://u@a/',
];
const versions = ['HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0'];
const oddVersions = [
  'HTTP/2.0',
  'HTTP/0.9',
  'HTTP/1.2',
  'HTTP/1.11',
  'http/1.1',
  'HTTP/1.1 ',
  'HTTP/ 1.1',
  'HTTP/01.1',
  'ICE/1.0',
  'RTSP/1.0',
  '',
];
const fields = [
  'Accept: */*',
  'X-A: b',
  'x-a:b',
  'X-Empty:',
  'X-Blank: \t ',
  'Cookie: a=b',
  'Cookie: c=d; e="f"',
  'Authorization: Bearer x',
  'Connection: keep-alive',
  'Connection: close',
  'Connection: x-a, keep-alive',
  'Connection: , ,close',
  'Keep-Alive: timeout=5',
  'Proxy-Connection: keep-alive',
  'Proxy-Connection: close',
  'TE: trailers',
  'Trailer: x-t',
  'Expect: 100-continue',
  'Content-Type: text/plain',
  'X-Postern-Peer: a',
  `X-Long: ${'y'.repeat(90)}`,
  '__proto__: a',
  'x_env: 1',
  'x.y: 1',
  "!#$%&'*+-.^_`|~: odd",
];
const oddFields = [
  'Host: b',
  'host : a',
  'Host:a',
  'Transfer-Encoding: chunked',
  'transfer-encoding:chunked',
  'Transfer-Encoding: Chunked ',
  'Transfer-Encoding: xchunked',
  'Transfer-Encoding: chunked, identity',
  'Transfer-Encoding: gzip, chunked',
  'Transfer-Encoding: identity',
  'Transfer-Encoding: chunked, chunked',
  'Transfer-Encoding: "chunked"',
  'Transfer-Encoding:',
  'Transfer-Encoding : chunked',
  'Transfer-Encoding\t: chunked',
  'Transfer_Encoding: chunked',
  'Content-Length: 0',
  'Content-Length: 3',
  'content-length:3 ',
  'Content-Length: +3',
  'Content-Length: 3, 3',
  'Content-Length: 03',
  'Content-Length: 0x3',
  'Content-Length: 3 3',
  'Content-Length: 99999999999999999999',
  'Content-Length: 4294967299',
  'Content-Length: -1',
  'Content-Length:',
  'Content-Length : 3',
  'Upgrade: websocket',
  'Upgrade: h2c',
  'Connection: upgrade',
  'Connection: Upgrade, close',
  'Connection: a b',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  'Sec-WebSocket-Version: 13',
  'HTTP2-Settings: AAMAAABk',
  'Expect: 200-ok',
  'X: caf\xe9',
  'X: a\x00b',
  'X: a\rb',
  'X: a\nb',
  ' X: folded',
  '\tX: folded',
  'X A: b',
  'X',
  ': b',
  '',
];
const bodies = [
  '',
  'abc',
  'GET /x HTTP/1.1\r\nHost: a\r\n\r\n',
  '0\r\n\r\n',
  'hello world',
  '\r\n',
  '\n',
  'z'.repeat(60),
];
const sizes = ['3', '03', '003', '3;a=b', '3;a', '3;a="b c"', '3;a;b=c'];
const oddSizes = [
  '0x3',
  '3 ',
  ' 3',
  '+3',
  '-3',
  '',
  'g',
  'ffffffffffffffff',
  '3;',
  '3;=',
  '3;a=',
  '3; a=b',
  '3\t',
  '3;a="\x01"',
  '3;a=b\n',
  '100000003',
];
const ends = [
  '0\r\n\r\n',
  '0\r\n\r\n',
  '0\r\nX-T: v\r\n\r\n',
  '0;a=b\r\nX-T: v\r\nY-t:\r\n\r\n',
  '00\r\n\r\n',
  '0\r\nHost: evil\r\n\r\n',
];
const oddEnds = [
  '',
  '0\r\n',
  '0\n\n',
  '0\r\nContent-Length: 3\r\n\r\n',
  '0\r\nX : y\r\n\r\n',
  '0\r\n folded\r\n\r\n',
  '0\r\nX: \x80\r\n\r\n',
  '0\r\n\r',
  '0\r\nX: a\nY: b\r\n\r\n',
  '0\r\nConnection: close\r\n\r\n',
  '0\r\nUpgrade: h2c\r\n\r\n',
];
const statuses = ['200', '200', '200', '200', '204', '304', '404', '500', '201', '206', '103', '100', '101', '299'];
const oddStatuses = ['99', '1000', '0200', '20', '2OO', '', '600', '999', '199'];
const reasons = [' OK', ' OK', '', ' ', ' Not  Found', ' caf\xe9'];

const scraps = [
  ...[
    '\r',
    '\n',
    '\r\n',
    '\r\n\r\n',
    ' ',
    '\t',
    ':',
    ';',
    ',',
    '0',
    '1',
    'f',
    'x',
    '\0',
    '\x7f',
    '\x80',
    '\xff',
    '-',
    '+',
    '"',
    '/',
    '%',
    '=',
  ],
  ...[
    ' chunked',
    'xchunked',
    '0x5',
    '5 ',
    ' 5',
    'HTTP/1.0',
    'HTTP/1.1',
    'HTTP/2.0',
    'GET',
    '0\r\n\r\n',
    '5\r\nhello\r\n',
    '\r\nX',
    '00000005',
  ],
  ...[
    '1;a=b\r\nz\r\n',
    '1;a="b"\r\nz\r\n',
    'ffffffffffffffff',
    '\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n',
    'Connection: close\r\n',
  ],
];

/** How many times a part that is odd comes: once in so many. */
const oddity = 24;

function body(r: Random, lines: string[]): string {
  const kind = r.below(6);
  if (kind < 2) return '';
  if (kind < 4) {
    const text = r.pick(bodies);
    const said = r.oneIn(oddity) ? text.length + r.below(5) - 2 : text.length;
    lines.splice(
      r.below(lines.length + 1),
      0,
      `${r.oneIn(2) ? 'Content-Length: ' : 'content-length:'}${Math.max(0, said)}`,
    );
    return text;
  }
  lines.splice(r.below(lines.length + 1), 0, r.oneIn(2) ? 'Transfer-Encoding: chunked' : 'transfer-encoding:CHUNKED');
  let text = '';
  for (let left = r.below(4); left > 0; left--) {
    if (r.oneIn(oddity)) text += `${r.pick(oddSizes)}\r\nabc\r\n`;
    else if (r.oneIn(3)) {
      const data = r.pick(bodies);
      if (data.length > 0)
        text += `${r.oneIn(2) ? data.length.toString(16) : data.length.toString(16).toUpperCase()}\r\n${data}\r\n`;
    } else text += `${r.pick(sizes)}\r\nabc${r.oneIn(oddity * 2) ? '\n' : '\r\n'}`;
  }
  return text + (r.oneIn(oddity) ? r.pick(oddEnds) : r.pick(ends));
}

function fieldLines(r: Random): string[] {
  const lines: string[] = [];
  for (let left = r.below(5); left > 0; left--) lines.push(r.oneIn(oddity) ? r.pick(oddFields) : r.pick(fields));
  return lines;
}

function joined(start: string, lines: readonly string[], rest: string): string {
  let text = `${start}\r\n`;
  for (const line of lines) text += `${line}\r\n`;
  return `${text}\r\n${rest}`;
}

function request(r: Random): string {
  const lines = fieldLines(r);
  if (r.oneIn(30))
    lines.push('Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==');
  const rest = body(r, lines);
  if (!r.oneIn(40)) lines.splice(r.below(lines.length + 1), 0, r.oneIn(4) ? 'host:A' : 'Host: a');
  const method = r.oneIn(oddity) ? r.pick(oddMethods) : r.pick(methods);
  let target = r.oneIn(oddity) ? r.pick(oddTargets) : r.pick(targets);
  if (method === 'CONNECT' && r.oneIn(2)) target = 'a:80';
  const version = r.oneIn(oddity) ? r.pick(oddVersions) : r.pick(versions);
  const gap = r.oneIn(60) ? r.pick(['  ', '\t', '']) : ' ';
  return (
    (r.oneIn(40) ? r.pick(['\r\n', '\n', '\r\n\r\n', ' ', '\r']) : '') +
    joined(`${method}${gap}${target}${gap}${version}`, lines, rest)
  );
}

function response(r: Random): string {
  const lines = fieldLines(r);
  const status = r.oneIn(oddity) ? r.pick(oddStatuses) : r.pick(statuses);
  const isBodyless = status === '204' || status === '304' || status.startsWith('1');
  const rest = isBodyless && !r.oneIn(4) ? '' : body(r, lines);
  const version = r.oneIn(oddity) ? r.pick(oddVersions) : r.pick(versions);
  return joined(
    `${version} ${status}${r.oneIn(oddity) ? r.pick(['  OK', '\tOK', ' O\x01K', ' O\rK']) : r.pick(reasons)}`,
    lines,
    rest,
  );
}

function damaged(r: Random, text: string): string {
  if (!r.oneIn(3)) return text;
  for (let left = 1 + r.below(3); left > 0; left--) {
    const at = r.below(text.length + 1);
    const scrap = r.oneIn(6) ? String.fromCharCode(r.below(256)) : r.pick(scraps);
    const kind = r.below(4);
    const [before, after] = [text.slice(0, at), text.slice(at)];
    if (kind === 0) text = before + scrap + after;
    else if (kind === 1) text = before + after.slice(1 + r.below(6));
    else if (kind === 2) text = before + scrap + after.slice(scrap.length);
    else text = before + after.slice(0, 1 + r.below(40)) + after;
  }
  return text;
}

/** The text as bytes, cut at up to three places, as a network may. */
function cut(r: Random, text: string): Buffer[] {
  const bytes = Buffer.from(text, 'latin1');
  const cuts = r.oneIn(2) ? 0 : r.below(4);
  if (cuts === 0 || bytes.length === 0) return bytes.length === 0 ? [] : [bytes];
  const places = Array.from({ length: cuts }, () => r.below(bytes.length)).sort((a, b) => a - b);
  const pieces: Buffer[] = [];
  let from = 0;
  for (const to of [...places, bytes.length]) {
    if (to > from) pieces.push(bytes.subarray(from, to));
    from = Math.max(from, to);
  }
  return pieces;
}

/** One to three requests, one after the other. */
export function anyRequests(r: Random): Buffer[] {
  let text = request(r);
  while (r.oneIn(3)) text += request(r);
  return cut(r, damaged(r, text));
}

export interface Answering {
  readonly method: string;
  readonly pieces: Buffer[];
  /** The other side ends after these bytes. */
  readonly ends: boolean;
}

/** What comes back for each of one to three requests on one connection. */
export function anyResponses(r: Random): Answering[] {
  const answers: Answering[] = [];
  do {
    let text = '';
    while (r.oneIn(12)) text += response(r);
    text += response(r);
    answers.push({ method: r.oneIn(8) ? 'HEAD' : 'GET', pieces: cut(r, damaged(r, text)), ends: r.oneIn(4) });
  } while (r.oneIn(3));
  return answers;
}

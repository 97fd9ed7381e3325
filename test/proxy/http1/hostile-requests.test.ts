// The rows of hostile-inputs.md that one request head or body can show: each is answered with the right status, never handed on, and the
// connection is closed.
import { describe, expect, test } from 'vitest';
import { readOurs } from '../../helpers/http1.ts';

const host = 'Host: a\r\n';
const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';
const get = (target: string, more = host): string => `GET ${target} HTTP/1.1\r\n${more}\r\n`;
const post = (fields: string, body = ''): string => `POST / HTTP/1.1\r\n${host}${fields}\r\n${body}`;
const many = (count: number): string => Array.from({ length: count }, (_, index) => `x-${index}: 1\r\n`).join('');

const refused: readonly (readonly [row: string, status: number, bytes: string])[] = [
  [
    'H1: Content-Length with Transfer-Encoding',
    400,
    post('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
  ],
  [
    'H1: Transfer-Encoding with Content-Length',
    400,
    post('Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', '0\r\n\r\n'),
  ],
  ['H2: Transfer-Encoding: xchunked', 400, post('Transfer-Encoding: xchunked\r\n', '0\r\n\r\n')],
  ['H3: Transfer-Encoding: chunked, identity', 400, post('Transfer-Encoding: chunked, identity\r\n', '0\r\n\r\n')],
  ['H3: Transfer-Encoding: chunked, chunked', 400, post('Transfer-Encoding: chunked, chunked\r\n', '0\r\n\r\n')],
  [
    'H4: two Transfer-Encoding lines',
    400,
    post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
  ],
  ['H5: Transfer-Encoding: gzip, chunked', 501, post('Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n')],
  ['H5: Transfer-Encoding: gzip', 400, post('Transfer-Encoding: gzip\r\n')],
  ['H6: Transfer-Encoding on HTTP/1.0', 400, `POST / HTTP/1.0\r\n${host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
  ['H7: a space before the colon', 400, get('/', `${host}X-A : b\r\n`)],
  ['H7: a space before the colon of Content-Length', 400, post('Content-Length : 5\r\n', 'hello')],
  ['H7: a Content-Length line that begins with a space', 400, post(' Content-Length: 5\r\n', 'hello')],
  ['H7: a folded line', 400, get('/', `${host}X-A: b\r\n c\r\n`)],
  ['H7: a first header line that begins with a tab', 400, get('/', `\tX: y\r\n${host}`)],
  ['H8: two equal Content-Length lines', 400, post('Content-Length: 5\r\nContent-Length: 5\r\n', 'hello')],
  ['H8: two different Content-Length lines', 400, post('Content-Length: 5\r\nContent-Length: 6\r\n', 'hello')],
  ...['3, 3', '+3', '-1', '0x3', '99999999999999999999', '', '3 3', '3;', '３', '1e1'].map(
    (value) =>
      [`H8: Content-Length: ${JSON.stringify(value)}`, 400, post(`Content-Length: ${value}\r\n`, 'abc')] as const,
  ),
  ['H12: bare LF line ends', 400, 'GET / HTTP/1.1\nHost: a\n\n'],
  ['H12: one bare LF', 400, 'GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n'],
  ['H12: a bare CR in a value', 400, get('/', `${host}X: a\rb\r\n`)],
  ['H12: CRLF CR X', 400, `GET / HTTP/1.1\r\n${host}\r\rX: y\r\n\r\n`],
  ['H13: NUL in a value', 400, get('/', `${host}X: a\0b\r\n`)],
  ['H13: a control character in a value', 400, get('/', `${host}X: a\x01b\r\n`)],
  ['H13: NUL in the path', 400, get('/a\0b')],
  ['H13: a tab in the request line', 400, 'GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['H14: a byte above 0x7F in a value', 400, get('/', `${host}X: caf\xe9\r\n`)],
  ['H14: a byte above 0x7F in the path', 400, get('/caf\xe9')],
  ['H15: no Host', 400, get('/', '')],
  ['H16: two Host headers', 400, get('/', `${host}${host}`)],
  ...[
    'a@b/c',
    'a b',
    'a:99999',
    'a:0',
    'a:',
    '',
    'a,b',
    '[::1',
    '[zz]',
    'a:b',
    'a/b',
    'a..b',
    '.a',
    'a%2eb',
    'ä',
    'a:8o',
  ].map((value) => [`H17: Host: ${JSON.stringify(value)}`, 400, get('/', `Host: ${value}\r\n`)] as const),
  ['H18: an absolute target with another Host', 400, get('http://b/', host)],
  ['H18: an absolute target with userinfo', 400, get('http://x@a/', host)],
  ['H18: an absolute target of another scheme', 400, get('https://a/', host)],
  ['H19: a fragment in the path', 400, get('/a#b')],
  ['H19: a fragment in the query', 400, get('/a?b#c')],
  ['H21: GET *', 400, get('*')],
  ['H21: an authority as target', 400, get('a:80')],
  ['H21: CONNECT to another than the Host', 400, `CONNECT a:443 HTTP/1.1\r\n${host}\r\n`],
  ['H21: TRACE', 405, `TRACE / HTTP/1.1\r\n${host}\r\n`],
  ['H22: a lower-case method', 501, `get / HTTP/1.1\r\n${host}\r\n`],
  ['H22: an unknown method', 501, `FROB / HTTP/1.1\r\n${host}\r\n`],
  ['H22: a method of 10 KB', 400, `${'G'.repeat(10_240)} / HTTP/1.1\r\n${host}\r\n`],
  ['H22: a method that is no token', 400, `GE(T / HTTP/1.1\r\n${host}\r\n`],
  ['H23: HTTP/0.9', 400, 'GET /\r\n\r\n'],
  ['H23: HTTP/1.2', 505, `GET / HTTP/1.2\r\n${host}\r\n`],
  ['H23: the HTTP/2 preface', 505, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ['H23: http/1.1 in lower case', 400, `GET / http/1.1\r\n${host}\r\n`],
  ['H24: a URI of 20 KB', 414, get(`/${'a'.repeat(20_480)}`)],
  ['H24: a URI of 9 KB', 414, get(`/${'a'.repeat(9_216)}`)],
  ['H24: 17 KB of headers', 431, get('/', `${host}X: ${'a'.repeat(17_408)}\r\n`)],
  [
    'H25: 2,001 headers, the last of them Content-Length',
    431,
    `POST / HTTP/1.1\r\n${host}${many(2_000)}Content-Length: 5\r\n\r\nhello`,
  ],
  [
    'H25: 130 headers, the last of them Content-Length',
    431,
    `POST / HTTP/1.1\r\n${host}${many(129)}Content-Length: 5\r\n\r\nhello`,
  ],
  ['H27: an underscore alias beside its twin', 400, get('/', `${host}x-env: a\r\nx_env: b\r\n`)],
  ['20: X_Forwarded_Client_Cert', 400, get('/', `${host}X_Forwarded_Client_Cert: By=a\r\n`)],
  ['20: X_Postern_Peer', 400, get('/', `${host}X_Postern_Peer: a\r\n`)],
  ['20: X-Postern_Peer', 400, get('/', `${host}X-Postern_Peer: a\r\n`)],
  ['20: content_length', 400, post('content_length: 5\r\n')],
  ['21: X.Postern.Peer', 400, get('/', `${host}X.Postern.Peer: a\r\n`)],
  ['26: two Authorization headers', 400, get('/', `${host}Authorization: a\r\nAuthorization: b\r\n`)],
  ['H31: Expect of something else', 417, post('Expect: 200-ok\r\nContent-Length: 1\r\n', 'a')],
  ['H31: two Expect headers', 400, post('Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 1\r\n', 'a')],
  [
    'H34: Upgrade: h2c',
    501,
    get('/', `${host}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n`),
  ],
  ['H34: Upgrade: websocket without a key', 400, get('/', `${host}Connection: Upgrade\r\nUpgrade: websocket\r\n`)],
  ['H34: Upgrade: websocket that Connection does not name', 501, get('/', `${host}Upgrade: websocket\r\n${key}`)],
  ['H34: two protocols', 501, get('/', `${host}Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n${key}`)],
  ['H34: two keys', 400, get('/', `${host}Connection: Upgrade\r\nUpgrade: websocket\r\n${key}${key}`)],
  ['H34: HTTP/1.0', 501, `GET / HTTP/1.0\r\n${host}Connection: Upgrade\r\nUpgrade: websocket\r\n${key}\r\n`],
  ['H34: Upgrade to an unknown protocol', 501, get('/', `${host}Connection: Upgrade\r\nUpgrade: frob\r\n`)],
  [
    'H34: Upgrade on a POST with a body',
    501,
    post('Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n', 'hello'),
  ],
];

describe('refused before anything is handed on', () => {
  test.each(refused)('%s is answered %i', (_, status, bytes) => {
    const reading = readOurs([Buffer.from(bytes, 'latin1')]);
    expect(reading.requests).toEqual([]);
    expect(reading.written.slice(0, 12)).toBe(`HTTP/1.1 ${status}`);
    expect(reading.written).toContain('connection: close');
    expect(reading.isClosed).toBe(true);
  });

  test('and one byte at a time all the same', () => {
    for (const [row, status, bytes] of refused.filter(([, , bytes]) => bytes.length < 400)) {
      const pieces = [...Buffer.from(bytes, 'latin1')].map((byte) => Buffer.of(byte));
      const reading = readOurs(pieces);
      expect([row, reading.requests.length, reading.written.slice(9, 12)]).toEqual([row, 0, String(status)]);
    }
  });
});

const chunked = (body: string): string => post('Transfer-Encoding: chunked\r\n', body);

describe('chunked bodies', () => {
  test.each([
    ['H9: a chunk size of 0x1', chunked('0x1\r\na\r\n0\r\n\r\n')],
    ['H9: a chunk size that overflows', chunked(`${'f'.repeat(17)}\r\na\r\n0\r\n\r\n`)],
    ['H9: a bare LF after the size', chunked('1\na\r\n0\r\n\r\n')],
    ['H9: a bare LF after the data', chunked('1\r\na\n0\r\n\r\n')],
    ['H9: junk after the data', chunked('1\r\nab\r\n0\r\n\r\n')],
    ['H9: a negative size', chunked('-1\r\na\r\n0\r\n\r\n')],
    ['H9: an empty size', chunked('\r\na\r\n0\r\n\r\n')],
    ['H9: white space after the size', chunked('1 \r\na\r\n0\r\n\r\n')],
    ['H10: a chunk extension of 64 KB', chunked(`1;${'a'.repeat(65_536)}\r\na\r\n0\r\n\r\n`)],
    ['H10: an endless chunk extension', chunked(`1;${'a'.repeat(65_536)}`)],
    ['H11: Content-Length in trailers', chunked('1\r\na\r\n0\r\nContent-Length: 5\r\n\r\n')],
    ['H11: Transfer-Encoding in trailers', chunked('1\r\na\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n')],
    ['H11: trailers of 9 KB', chunked(`1\r\na\r\n0\r\nX: ${'a'.repeat(9_216)}\r\n\r\n`)],
    ['H11: 40 trailers', chunked(`1\r\na\r\n0\r\n${many(40)}\r\n`)],
  ])('%s never completes the request, and closes', (_, bytes) => {
    const reading = readOurs([Buffer.from(bytes, 'latin1')]);
    expect(reading.requests.map(({ complete }) => complete)).toEqual([false]);
    expect(reading.isClosed).toBe(true);
  });
});

describe('read as one plain meaning', () => {
  test.each([
    ['H17: Host in mixed case', get('/', 'Host: PayMents\r\n')],
    ['H18: an absolute target with the same Host', get('http://A/x', host)],
    ['H21: OPTIONS *', `OPTIONS * HTTP/1.1\r\n${host}\r\n`],
    ['H26: __proto__ and constructor as header names', get('/', `${host}__proto__: a\r\nconstructor: b\r\n`)],
  ])('%s', (_, bytes) => {
    const reading = readOurs([Buffer.from(bytes, 'latin1')]);
    expect(reading.requests.map(({ complete }) => complete)).toEqual([true]);
  });

  test('H26: __proto__ stays a field like any other', () => {
    const { requests } = readOurs([Buffer.from(get('/', `${host}__proto__: a\r\nConstructor: b\r\n`))]);
    expect(requests[0]!.fields).toEqual([
      ['__proto__', 'a'],
      ['constructor', 'b'],
    ]);
  });

  test('H28: Connection cannot strip our identity headers, and strips what it names', () => {
    const fields = `${host}Connection: x-postern-peer, x-forwarded-client-cert, x-b\r\nX-Postern-Peer: a\r\nX-B: c\r\n`;
    const { requests } = readOurs([Buffer.from(get('/', fields))]);
    expect(requests[0]!.fields).toEqual([['x-postern-peer', 'a']]);
  });

  test('H31: the body of a GET is consumed, so the next request is the next one', () => {
    const body = 'GET /x HTTP/1.1\r\n\r\n';
    const bytes = `GET /1 HTTP/1.1\r\n${host}Content-Length: ${body.length}\r\n\r\n${body}${get('/2')}`;
    const { requests } = readOurs([Buffer.from(bytes)]);
    expect(requests.map(({ target }) => target)).toEqual(['/1', '/2']);
    expect(requests[0]!.body).toBe(body);
  });

  test('H33: 1,000 pipelined requests are answered in order', () => {
    const bytes = Array.from({ length: 1_000 }, (_, index) => get(`/${index}`)).join('');
    const { requests, written } = readOurs([Buffer.from(bytes)]);
    expect(requests.map(({ target }) => target)).toEqual(Array.from({ length: 1_000 }, (_, index) => `/${index}`));
    expect(written.match(/HTTP\/1\.1 200/g)).toHaveLength(1_000);
  });
});

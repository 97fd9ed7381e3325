// The rows of hostile-inputs.md that one request head or body can show: each is answered with the right status, never handed on, and the
// connection is closed.
import { describe, expect, test } from 'vitest';
import { get, host, many, post, refusedRequests } from '../../helpers/hostile-requests.ts';
import { readOurs } from '../../helpers/http1.ts';

describe('refused before anything is handed on', () => {
  test.each(refusedRequests)('%s is answered %i', (_, status, bytes) => {
    const reading = readOurs([Buffer.from(bytes, 'latin1')]);
    expect(reading.requests).toEqual([]);
    expect(reading.written.slice(0, 12)).toBe(`HTTP/1.1 ${status}`);
    expect(reading.written).toContain('connection: close');
    expect(reading.isClosed).toBe(true);
  });

  test('and one byte at a time all the same', () => {
    for (const [row, status, bytes] of refusedRequests.filter(([, , bytes]) => bytes.length < 400)) {
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

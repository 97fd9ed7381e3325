// What fuzzing found our HTTP/1.1 codec and llhttp to read in two ways, each by its name: it is refused now, or ends the connection.
import { describe, expect, test } from 'vitest';
import { checkRequests, checkResponses } from '../../fuzz/http1.ts';
import { readOurs } from '../../helpers/http1.ts';

const bytes = (text: string): Buffer[] => [Buffer.from(text, 'latin1')];
const next = 'GET /2 HTTP/1.1\r\nHost: a\r\n\r\n';

describe('requests', () => {
  test.each([
    [
      'a tab behind the name of a coding',
      'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n',
    ],
    ['a tab before the name of a coding', 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n'],
    [
      'Connection: close in trailers',
      'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nConnection: close\r\n\r\n',
    ],
    [
      'Proxy-Connection: close in trailers',
      'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nProxy-Connection: close\r\n\r\n',
    ],
  ])('%s never completes a request, and closes', (_, text) => {
    const { requests, isClosed } = readOurs(bytes(text + next));
    expect(requests.filter(({ complete }) => complete)).toEqual([]);
    expect(isClosed).toBe(true);
    expect(checkRequests(bytes(text + next))).toBe(0);
  });

  test.each(['close', 'Close', 'x, close'])('Proxy-Connection: %s closes after the answer', (value) => {
    const text = `GET / HTTP/1.1\r\nHost: a\r\nProxy-Connection: ${value}\r\n\r\n`;
    const { requests, written, isClosed } = readOurs(bytes(text + next));
    expect(requests.map(({ target }) => target)).toEqual(['/']);
    expect(written).toContain('connection: close');
    expect(isClosed).toBe(true);
    expect(checkRequests(bytes(text + next))).toBe(1);
  });

  test('Proxy-Connection: keep-alive means nothing', () => {
    const text = 'GET / HTTP/1.1\r\nHost: a\r\nProxy-Connection: keep-alive\r\n\r\n';
    expect(readOurs(bytes(text + next)).requests).toHaveLength(2);
  });
});

describe('responses', () => {
  const answer = (text: string) => [{ method: 'GET', pieces: bytes(text), ends: false }];
  const final = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

  test.each([
    ['an interim response that closes the connection', 'HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\n'],
    ['an interim response of HTTP/1.0', 'HTTP/1.0 103 Early Hints\r\n\r\n'],
    ['an interim response with chunks', 'HTTP/1.1 199 X\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['an interim response with a length', 'HTTP/1.1 103 X\r\nContent-Length: 3\r\n\r\n'],
  ])('%s is no answer', (_, text) => {
    expect(checkResponses(answer(text + final))).toBe(0);
  });

  test('an interim response with no more than a length of nothing is one', () => {
    expect(checkResponses(answer(`HTTP/1.1 103 X\r\nContent-Length: 0\r\n\r\n${final}`))).toBe(1);
  });

  test.each(['204 No Content', '304 Not Modified'])('chunks announced by %s end the connection', (status) => {
    const [first] = answer(`HTTP/1.1 ${status}\r\nTransfer-Encoding: chunked\r\n\r\n`);
    expect(checkResponses([first!])).toBe(1);
    // Were it used again, there would be a second answer.
    expect(checkResponses([first!, ...answer(final)])).toBe(1);
  });

  test('a connection is used again after answers that say all they should', () => {
    expect(checkResponses([...answer(final), ...answer('HTTP/1.1 304 X\r\n\r\n'), ...answer(final)])).toBe(3);
  });
});

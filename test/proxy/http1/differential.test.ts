import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readLlhttp, readOurs, takenOut } from '../../helpers/http1.ts';

/** Requests that both parsers take, and a few that neither should. */
const seeds = [
  'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
  'GET /a?b=c HTTP/1.1\r\nHost: a.b:8080\r\nAccept: */*\r\nX-Empty:\r\n\r\n',
  'POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello',
  'POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  'POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-T: v\r\n\r\n',
  'GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n',
  'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
  'PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n',
  'GET http://a/b HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, x-y\r\nX-Y: 1\r\n\r\n',
  'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n',
  'DELETE /d HTTP/1.0\r\nHost: a\r\n\r\n',
  'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX',
  'HEAD /h HTTP/1.1\r\nhost: a\r\ncookie: a=b\r\ncookie: c=d\r\n\r\n',
  '\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n',
];

const scraps = [
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
  'Transfer-Encoding: chunked\r\n',
  'Transfer-Encoding: identity\r\n',
  'Content-Length: 5\r\n',
  'Content-Length: 0\r\n',
  'Host: b\r\n',
  'Connection: close\r\n',
  ' chunked',
  'xchunked',
  '0x5',
  '5 ',
  ' 5',
  'HTTP/1.0',
  'HTTP/1.1',
  'HTTP/2.0',
  'GET',
  'Expect: 100-continue\r\n',
  '0\r\n\r\n',
  '5\r\nhello\r\n',
  '\r\nX',
  'Upgrade: h2c\r\n',
  'Trailer: x\r\n',
  '1;a=b\r\nz\r\n',
  '1;a="b"\r\nz\r\n',
  '00000005',
  'ffffffffffffffff',
];

interface Edit {
  readonly kind: 'insert' | 'remove' | 'replace' | 'repeat';
  readonly at: number;
  readonly size: number;
  readonly scrap: string;
}

const edit: fc.Arbitrary<Edit> = fc.record({
  kind: fc.constantFrom('insert', 'remove', 'replace', 'repeat'),
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  size: fc.integer({ min: 1, max: 12 }),
  scrap: fc.oneof(
    { weight: 5, arbitrary: fc.constantFrom(...scraps) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)) },
  ),
});

const mutated = fc
  .tuple(fc.constantFrom(...seeds), fc.array(edit, { maxLength: 4 }), fc.constantFrom(...seeds, ''))
  .map(([seed, edits, tail]) => edits.reduce(apply, seed) + tail);

function apply(text: string, { kind, at, size, scrap }: Edit): string {
  const from = Math.floor(at * text.length);
  const [before, after] = [text.slice(0, from), text.slice(from)];
  if (kind === 'insert') return before + scrap + after;
  if (kind === 'remove') return before + after.slice(size);
  if (kind === 'replace') return before + scrap + after.slice(scrap.length);
  return before + after.slice(0, size * 4) + after;
}

/** The text cut at up to three places, as a network may. */
const cut = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 3 });

function piecesOf(text: string, cuts: readonly number[]): Buffer[] {
  const places = [0, ...cuts.map((one) => Math.floor(one * text.length)).sort((a, b) => a - b), text.length];
  return places
    .slice(1)
    .map((to, index) => Buffer.from(text.slice(places[index], to), 'latin1'))
    .filter((piece) => piece.length > 0);
}

function agree(text: string, cuts: readonly number[]): void {
  const pieces = piecesOf(text, cuts);
  const ours = readOurs(pieces);
  const theirs = readLlhttp(pieces);
  for (const [index, request] of ours.requests.entries()) {
    const other = theirs.requests[index];
    if (!other) throw new Error(`only ours saw request ${index}: ${JSON.stringify(request)}; theirs: ${theirs.fault}`);
    expect({ method: request.method, target: request.target }).toEqual({ method: other.method, target: other.target });
    const kept = other.fields.filter(([name]) => !takenOut.test(name));
    const named = new Set(
      other.fields.filter(([name]) => name === 'connection').flatMap(([, value]) => value.toLowerCase().split(/ *, */)),
    );
    expect(request.fields.filter(([name]) => !named.has(name))).toEqual(kept.filter(([name]) => !named.has(name)));
    if (!request.complete) continue;
    expect({ body: request.body, complete: true }).toEqual({ body: other.body, complete: other.complete });
  }
}

describe('H1-H26: whatever our codec accepts, llhttp accepts with the same meaning', () => {
  test.each(seeds)('%j as it is', (seed) => agree(seed, []));

  test('mutated requests, cut anywhere', () => {
    let accepted = 0;
    fc.assert(
      fc.property(mutated, cut, (text, cuts) => {
        agree(text, cuts);
        if (readOurs([Buffer.from(text, 'latin1')]).requests.some(({ complete }) => complete)) accepted++;
      }),
      { numRuns: 25_000 },
    );
    // Both kinds must be met, or the property says nothing.
    expect(accepted).toBeGreaterThan(2_000);
  });

  test('the pieces in which bytes come change nothing', () => {
    fc.assert(
      fc.property(mutated, cut, (text, cuts) => {
        const whole = readOurs([Buffer.from(text, 'latin1')]);
        const cutUp = readOurs(piecesOf(text, cuts));
        expect(cutUp.requests.filter(({ complete }) => complete)).toEqual(
          whole.requests.filter(({ complete }) => complete),
        );
      }),
      { numRuns: 5_000 },
    );
  });
});

import { describe, expect, test } from 'vitest';
import { EdgeDownstream } from '../../proxy/edge-reply.ts';
import type { Downstream, ResponseHead } from '../../proxy/exchange.ts';

/** Answers through the edge; what its caller gets. */
function answered(method: string, head: ResponseHead, body: readonly string[] = [], trailers: readonly string[] = []) {
  let got: ResponseHead | undefined;
  let text = '';
  let end: readonly string[] | undefined;
  const caller: Downstream = {
    inform: () => undefined,
    head: (given) => {
      got = given;
    },
    data: (bytes) => {
      text += bytes.toString();
      return true;
    },
    end: (given) => {
      end = given;
    },
    abort: () => undefined,
    pauseRequest: () => undefined,
    resumeRequest: () => undefined,
  };
  const edge = new EdgeDownstream(caller, method);
  edge.head(head);
  for (const piece of body) edge.data(Buffer.from(piece));
  edge.end(trailers);
  return { ...got!, text, end };
}

const refusal = (status: number, length: number, more: readonly string[] = []): ResponseHead => ({
  status,
  reason: '',
  fields: ['x-postern-hop', 'inbound', 'x-postern-decision', 'd1', 'x-inside', 'spiffe://example.org/web', ...more],
  length,
});

describe('a refusal of a proxy behind the edge', () => {
  test('comes in words of the edge, with the id of its record', () => {
    const { fields, length, text } = answered('GET', refusal(403, 7), ['secrets']);
    expect(JSON.parse(text)).toEqual({ error: { message: 'access is denied', decision: 'd1' } });
    expect(length).toBe(Buffer.byteLength(text));
    expect(fields.join()).not.toContain('spiffe');
  });

  test('without a body, or with one in many pieces, is as long as its head says', () => {
    for (const body of [[], ['a', 'b', 'c']]) {
      const { length, text } = answered('GET', refusal(502, body.length), body);
      expect(text.length).toBe(length);
    }
  });

  test('of a HEAD has no body', () => {
    expect(answered('HEAD', refusal(403, 7))).toMatchObject({ status: 403, text: '', end: [] });
  });

  test('of a call of gRPC keeps its status and nothing else', () => {
    const head = { ...refusal(200, 5, ['grpc-status', '7', 'grpc-message', 'from web']), reason: 'OK' };
    const { fields, length, text } = answered('POST', head, ['inside']);
    expect(fields).toEqual([
      ...['content-type', 'application/grpc', 'grpc-status', '7', 'grpc-message', 'refused by the mesh'],
      ...['x-postern-decision', 'd1'],
    ]);
    expect([length, text]).toEqual([-1, '']);
  });
});

test('an answer that is no refusal is passed on as it is, without what claims to be of a proxy', () => {
  const { fields, text, end } = answered(
    'GET',
    refusal(200, 2, ['server', 'a']),
    ['ok'],
    ['x-checksum', '1', 'x-postern-peer', 'me'],
  );
  expect(fields).toEqual(['x-inside', 'spiffe://example.org/web', 'server', 'a']);
  expect([text, end]).toEqual(['ok', ['x-checksum', '1']]);
});

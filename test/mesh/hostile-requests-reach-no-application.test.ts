// Every hostile request that one connection can show, with its bytes on real sockets to both listeners: answered, closed, recorded, and never seen by
// the application, to which honest requests before and after pass.
import { describe, expect, test } from 'vitest';
import { get, post, refusedRequests } from '../helpers/hostile-requests.ts';
import { frame, rawOn as framesOn, request as h2Request, magic, types } from '../helpers/http2.ts';
import { allow, openRaw, openTls, type Pair, type RawClient, startApp, startPair } from '../helpers/mesh.ts';

const fine = 'GET /fine HTTP/1.1\r\nHost: payments\r\n\r\n';

async function start(rules = [allow('web', 'payments')]): Promise<{ pair: Pair; seen: string[] }> {
  const seen: string[] = [];
  const app = await startApp((request, response) => {
    seen.push(`${request.method} ${request.url}`);
    request.resume().on('end', () => response.end('ok'));
  });
  return { pair: await startPair({ app, rules, upstreams: ['payments'] }), seen };
}

const toInbound = ({ pki, web, payments }: Pair): Promise<RawClient> =>
  openTls({ pki, proxy: payments, identity: web.identity });
const toOutbound = ({ web }: Pair): Promise<RawClient> => openRaw(web.addresses.outbound.port);

describe.each([
  ['inbound', toInbound, refusedRequests],
  // There the preface of HTTP/2 begins HTTP/2.
  ['outbound', toOutbound, refusedRequests.filter(([row]) => !row.startsWith('H23: the HTTP/2 preface'))],
] as const)('%s', (hop, open, rows) => {
  test('26: each is answered and closed, alone and behind an honest request', { timeout: 60_000 }, async () => {
    const { pair, seen } = await start();
    const proxy = hop === 'inbound' ? pair.payments : pair.web;
    for (const [row, status, bytes] of rows) {
      const alone = await open(pair);
      alone.send(bytes + fine);
      expect([row, (await alone.closed()).match(/HTTP\/1\.1 \d{3}/g)]).toEqual([row, [`HTTP/1.1 ${status}`]]);
      const before = seen.length;
      const behind = await open(pair);
      behind.send(fine + bytes + fine);
      expect([row, (await behind.closed()).match(/HTTP\/1\.1 \d{3}/g)]).toEqual([
        row,
        ['HTTP/1.1 200', `HTTP/1.1 ${status}`],
      ]);
      expect([row, seen.slice(before)]).toEqual([row, ['GET /fine']]);
    }
    expect(new Set(seen)).toEqual(new Set(['GET /fine']));
    // Each of them has left its record.
    await proxy.recorded(rows.length * 3);
    expect(proxy.records.filter(({ decision }) => decision !== 'allow').length).toBeGreaterThanOrEqual(rows.length * 2);
  });

  test('H35: a caller that goes in the middle of a head leaves nothing behind', async () => {
    const { pair, seen } = await start();
    const client = await open(pair);
    client.send('GET / HTTP/1.1\r\nHost: pay');
    client.socket.destroy();
    const next = await open(pair);
    next.send(fine);
    await next.until(/\r\n\r\nok/);
    expect(seen).toEqual(['GET /fine']);
  });
});

describe('one path for policy, application and record', () => {
  const rules = [
    allow('web', 'payments'),
    allow('web', 'payments', { id: 'no-admin', effect: 'deny', paths: ['/admin/**', '/admin'] }),
  ];
  test.each([
    ['1: dot segments', '/info/../admin/x', 403],
    ['1: dot segments at the end', '/admin/x/..', 403],
    ['2: escaped dot segments', '/x/%2e%2e/admin/x', 403],
    ['2: half escaped dot segments', '/x/.%2E/admin/x', 403],
    ['3: dot segments with a parameter', '/user/..;a=b/admin/x', 400],
    ['4: a path parameter', '/admin;x=1/y', 400],
    ['5: slashes', '//admin/x', 403],
    ['5: slashes inside', '/admin//x', 403],
    ['6: an escaped slash', '/x%2Fadmin', 400],
    ['6: an escaped backslash', '/x%5Cadmin', 400],
    ['6: a backslash', '/x\\admin', 400],
    ['7: a fragment', '/admin#x', 400],
    ['7: an escaped fragment', '/admin%23x', 400],
    ['8: a query', '/admin?x', 403],
    ['9: an escaped NUL', '/admin%00', 400],
    ['9: an escaped semicolon', '/admin%3bx', 400],
    ['9: an escaped question mark', '/admin%3fx', 400],
    ['9: an escaped percent sign', '/%2561dmin/x', 400],
    ['13: no slash at the start', 'admin/x', 400],
    ['13: an asterisk', '*', 400],
    ['H20: escaped letters', '/%61dmin/x', 403],
    ['H20: overlong UTF-8', '/%c0%afadmin', 400],
  ])('%s does not get around a rule on /admin', async (_, target, status) => {
    const { pair, seen } = await start(rules);
    for (const open of [toInbound, toOutbound]) {
      const client = await open(pair);
      client.send(`GET ${target} HTTP/1.1\r\nHost: payments\r\nConnection: close\r\n\r\n`);
      expect((await client.closed()).slice(0, 12)).toBe(`HTTP/1.1 ${status}`);
    }
    // And over HTTP/2, where the target stands in a field of its own.
    const h2 = framesOn((await openTls({ ...inboundOf(pair), ALPNProtocols: ['h2'] })).socket);
    h2.send(magic, frame(types.settings, 0, 0));
    h2.send(h2Request(1, [...pseudo, [':path', target]]));
    const answer = await h2.frame(({ type, id }) => id === 1 && (type === types.headers || type === types.reset));
    expect(answer).toBeDefined();
    expect(seen).toEqual([]);
  });

  test('38: what policy saw is what the application gets and the record says', async () => {
    const { pair, seen } = await start(rules);
    const client = await toOutbound(pair);
    client.send('GET /a/./b//%7euser/x/..?q=%2e HTTP/1.1\r\nHost: payments\r\n\r\n');
    await client.until(/\r\n\r\nok/);
    expect(seen).toEqual(['GET /a/b/~user/?q=%2e']);
    const [record] = await pair.payments.recorded(1);
    expect(record).toMatchObject({ decision: 'allow', path: '/a/b/~user/' });
  });

  test('10, 11: the case, the dot and the port of a host change no decision', async () => {
    const { pair, seen } = await start(rules);
    for (const host of ['PAYMENTS', 'payments.', 'payments:80', 'Payments.:80']) {
      const client = await toOutbound(pair);
      client.send(`GET /admin/x HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
      expect((await client.closed()).slice(0, 12)).toBe('HTTP/1.1 403');
    }
    expect(seen).toEqual([]);
  });
});

const pseudo = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':authority', 'payments'],
] as const;
const inboundOf = ({ pki, web, payments }: Pair) => ({ pki, proxy: payments, identity: web.identity });

describe('HTTP/2 that becomes HTTP/1.1', () => {
  const path = [':path', '/'] as const;
  test.each([
    ['25, P13: an upper-case name', [...pseudo, path, ['X-Up', 'a']]],
    ['25, P13: CR LF in the path', [...pseudo, [':path', '/\r\nx: y']]],
    ['25, P13: Connection', [...pseudo, path, ['connection', 'close']]],
    ['25, P13: Transfer-Encoding', [...pseudo, path, ['transfer-encoding', 'chunked']]],
    ['25, P13: TE', [...pseudo, path, ['te', 'gzip']]],
    ['25, P13: two authorities', [...pseudo, path, [':authority', 'other']]],
    ['25: a scheme in upper case', [pseudo[0], [':scheme', 'HTTP'], pseudo[2], path]],
    ['25: a pseudo-header field behind others', [...pseudo, ['x-a', 'b'], path]],
    ['P14: an authority that differs from Host', [...pseudo, path, ['host', 'other']]],
    ['P18: CR LF in a value', [...pseudo, path, ['x-a', 'b\r\nx-evil: 1']]],
    ['P18: a space in the method', [[':method', 'GET /x'], ...pseudo.slice(1), path]],
    ['P18: a colon in a name', [...pseudo, path, ['x:a', 'b']]],
  ] as [string, (readonly [string, string])[]][])('%s', async (_, fields) => {
    const { pair, seen } = await start();
    const plain = await openRaw(pair.web.addresses.outbound.port);
    for (const { socket } of [plain, await openTls({ ...inboundOf(pair), ALPNProtocols: ['h2'] })]) {
      const before = seen.length;
      const h2 = framesOn(socket);
      h2.send(magic, frame(types.settings, 0, 0), h2Request(1, fields), h2Request(3, [...pseudo, [':path', '/fine']]));
      await h2.frame(({ type, id }) => type === types.reset && id === 1).catch(() => undefined);
      await h2.frame(({ type, id }) => type === types.data && id === 3);
      expect(seen.slice(before)).toEqual(['GET /fine']);
    }
  });
});

describe('bytes behind a request for a tunnel', () => {
  const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: payments\r\n\r\n';
  const asked = {
    CONNECT: 'CONNECT payments:80 HTTP/1.1\r\nHost: payments:80\r\n\r\n',
    'a WebSocket':
      'GET /ws HTTP/1.1\r\nHost: payments\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n',
  };
  test.each(Object.entries(asked))('27, H34: of %s that is refused are no request', async (_, head) => {
    const { pair, seen } = await start([]);
    for (const open of [toInbound, toOutbound]) {
      const client = await open(pair);
      client.send(head + smuggled);
      expect((await client.closed()).match(/HTTP\/1\.1 \d{3}/g)).toEqual(['HTTP/1.1 403']);
    }
    expect(seen).toEqual([]);
  });

  test.each([
    [
      'h2c',
      get('/', 'Host: payments\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n'),
    ],
    ['an unknown protocol', get('/', 'Host: payments\r\nConnection: Upgrade\r\nUpgrade: frob\r\n')],
    ['a WebSocket with a body', post('Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n', 'hello')],
  ])('H34: an upgrade to %s is refused', async (_, head) => {
    const { pair, seen } = await start();
    for (const open of [toInbound, toOutbound]) {
      const client = await open(pair);
      client.send(head + smuggled);
      expect((await client.closed()).match(/HTTP\/1\.1 \d{3}/g)).toEqual(['HTTP/1.1 501']);
    }
    expect(seen).toEqual([]);
  });
});

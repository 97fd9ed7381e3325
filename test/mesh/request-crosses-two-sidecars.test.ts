import { describe, expect, test } from 'vitest';
import { call, idOf, startApp, startPair } from '../helpers/mesh.ts';

describe('a request crosses two sidecars', () => {
  test('and arrives as it was sent, with the verified caller in its headers', async () => {
    const app = await startApp((request, response) => {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ method: request.method, url: request.url, headers: request.headers }));
    });
    const { web, payments } = await startPair({ app });
    const answer = await call(web, { path: '/charges?id=1', headers: ['x-env: prod'] });
    expect(answer.status).toBe(200);
    const seen = JSON.parse(answer.body.split('\r\n')[1] ?? answer.body);
    expect(seen).toMatchObject({
      method: 'GET',
      url: '/charges?id=1',
      headers: {
        host: 'payments',
        'x-env': 'prod',
        'x-postern-peer': idOf('web'),
        'x-forwarded-client-cert': `By=${idOf('payments')};URI=${idOf('web')}`,
      },
    });
    const [inbound] = await payments.recorded(1);
    const [outbound] = await web.recorded(1);
    expect(inbound).toMatchObject({
      kind: 'exchange',
      hop: 'inbound',
      peer: idOf('web'),
      to: idOf('payments'),
      method: 'GET',
      path: '/charges',
      decision: 'allow',
      rule: 'test/web-payments',
      status: 200,
    });
    expect(seen.headers['x-postern-decision']).toBe(inbound!.id);
    expect(outbound).toMatchObject({ hop: 'outbound', to: idOf('payments'), decision: 'allow', status: 200 });
  });

  test('and the record says where it went, also to an application on IPv6', async () => {
    const app = await startApp((_, response) => response.end('here'), '::1');
    const { web, payments } = await startPair({ app });
    expect((await call(web, {})).status).toBe(200);
    const [inbound] = await payments.recorded(1);
    const [outbound] = await web.recorded(1);
    expect([inbound!.endpoint, outbound!.endpoint]).toEqual([
      `[::1]:${app.port}`,
      `127.0.0.1:${payments.addresses.inbound.port}`,
    ]);
  });
});

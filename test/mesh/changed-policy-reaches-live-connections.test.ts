import { describe, expect, test } from 'vitest';
import { allow, call, idOf, openRaw, openTls, startApp, startPair } from '../helpers/mesh.ts';

const answering = () => startApp((_, response) => response.end('ok'));
/** Sends the head and then nothing more until the test has done its work. */
const streaming = () =>
  startApp((_, response) => {
    response.write('first');
  });

describe('a changed policy reaches live connections', () => {
  test('Z10: the next request on a keep-alive connection meets the new policy', async () => {
    const { web, setRules } = await startPair({ app: await answering() });
    const client = await openRaw(web.addresses.outbound.port);
    client.send('GET /1 HTTP/1.1\r\nhost: payments\r\n\r\n');
    await client.until(/200 OK[\s\S]*ok/);
    setRules();
    client.send('GET /2 HTTP/1.1\r\nhost: payments\r\n\r\n');
    expect(await client.until(/403 Forbidden[\s\S]*\}\n/)).toContain('default-deny');
  });

  test('Z10: a running exchange that is now denied is cut, and recorded as policy-changed', async () => {
    const { web, payments, setRules } = await startPair({ app: await streaming() });
    const client = await openRaw(web.addresses.outbound.port);
    client.send('GET /stream HTTP/1.1\r\nhost: payments\r\n\r\n');
    await client.until(/first/);
    setRules();
    expect(await client.closed()).not.toMatch(/\r\n0\r\n\r\n$/);
    expect((await web.recorded(1))[0]).toMatchObject({ decision: 'deny', reason: 'policy-changed', status: 200 });
    expect((await payments.recorded(1))[0]!.decision).not.toBe('allow');
  });

  test('Z10: one that has no answer yet gets a 403', async () => {
    const { web, setRules, app } = await startPair({ app: await startApp(() => undefined) });
    const client = await openRaw(web.addresses.outbound.port);
    client.send('GET /slow HTTP/1.1\r\nhost: payments\r\n\r\n');
    await new Promise((resolve) => app.server.once('request', resolve));
    setRules();
    expect(await client.until(/\}\n/)).toMatch(/^HTTP\/1\.1 403[\s\S]*policy-changed/);
  });

  test('a running exchange that is still allowed goes on', async () => {
    const app = await startApp((_, response) => {
      response.write('first');
      app.server.once('finish-it', () => response.end('last'));
    });
    const { web, setRules } = await startPair({ app });
    const client = await openRaw(web.addresses.outbound.port);
    client.send('GET / HTTP/1.1\r\nhost: payments\r\n\r\n');
    await client.until(/first/);
    setRules(allow('*', 'payments'));
    app.server.emit('finish-it');
    await client.until(/last\r\n0\r\n\r\n$/);
  });

  test('T26: a ban closes live connections at once, on both sides, and refuses new ones', async () => {
    const { pki, web, payments } = await startPair({ app: await streaming() });
    const running = await openRaw(web.addresses.outbound.port);
    running.send('GET /stream HTTP/1.1\r\nhost: payments\r\n\r\n');
    await running.until(/first/);
    const idle = await openTls({ pki, proxy: payments, identity: web.identity });
    const started = performance.now();
    payments.apply({ bans: { ids: [idOf('web')], serials: [] } });
    await running.closed();
    await idle.closed();
    expect(performance.now() - started).toBeLessThan(1_000);
    expect((await payments.recorded(1))[0]).toMatchObject({
      decision: 'deny',
      reason: 'PEER_BANNED',
      peer: idOf('web'),
    });
    expect((await call(web)).status).toBe(502);
    const refusal = payments.records.find(({ kind }) => kind === 'connection');
    expect(refusal).toMatchObject({ decision: 'deny', reason: 'PEER_BANNED', peer: idOf('web') });
  });

  test('T26: a ban of one serial leaves other instances of the service alone', async () => {
    const { pki, web, payments } = await startPair({ app: await answering() });
    const other = pki.identity(idOf('web'));
    payments.apply({ bans: { ids: [], serials: [web.identity.serial] } });
    expect((await call(web)).status).toBe(502);
    web.plane.setIdentity(other);
    expect((await call(web)).status).toBe(200);
  });

  test('a ban of the called service cuts the connections to it', async () => {
    const { web } = await startPair({ app: await answering() });
    expect((await call(web)).status).toBe(200);
    web.apply({ bans: { ids: [idOf('payments')], serials: [] } });
    expect((await call(web)).json().error.code).toBe('UPSTREAM_IDENTITY_WRONG');
  });

  test('Z2: a snapshot that is broken anywhere changes nothing', async () => {
    const { web } = await startPair({ app: await answering() });
    const rule = allow('web', 'payments', { paths: ['/a/**/b'] });
    expect(() => web.apply({ policy: { revision: 7, rules: [rule], groups: {} }, services: [] })).toThrow(/refused/);
    expect(() => web.apply({ bundle: '{"keys":[]}' })).toThrow(/no roots/);
    expect(() => web.apply({ bundle: 'x' })).toThrow(/refused/);
    expect(() => web.apply({ service: idOf('other') })).toThrow(/it is for/);
    expect(() => web.plane.applySnapshot({ revision: 1, service: idOf('web') } as never)).toThrow(/in force already/);
    expect((await call(web)).status).toBe(200);
  });
});

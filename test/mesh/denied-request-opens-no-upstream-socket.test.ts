import { describe, expect, test } from 'vitest';
import {
  allow,
  call,
  idOf,
  openTls,
  type PairOptions,
  serviceEntry,
  startApp,
  startPair,
  startProxy,
} from '../helpers/mesh.ts';
import { createTestPki } from '../helpers/pki.ts';

const pairWith = async (rules: PairOptions['rules'] = []) =>
  startPair({ app: await startApp((_, response) => response.end('secret')), rules });

describe('a denied request opens no upstream socket', () => {
  test('on the outbound hop: nothing reaches the other sidecar', async () => {
    const { web, payments, app } = await pairWith();
    const answer = await call(web, { method: 'POST', path: '/charges', body: 'x' });
    expect(answer.status).toBe(403);
    const [record] = await web.recorded(1);
    expect(answer.head).toContain(`x-postern-decision: ${record!.id}`);
    expect(answer.json().error).toMatchObject({
      code: 'ACCESS_DENIED',
      decision: record!.id,
      hop: 'outbound',
      reason: 'default-deny',
      hint: 'run: postern policy why web payments POST /charges',
    });
    expect(record).toMatchObject({ decision: 'deny', reason: 'default-deny', status: 403, to: idOf('payments') });
    expect(payments.metrics.render()).toContain('postern_connections_open_inbound 0');
    expect(app.accepts()).toBe(0);
  });

  test('on the inbound hop: nothing reaches the application, and the caller learns the rule', async () => {
    const { pki, web, payments, app } = await pairWith([
      allow('web', 'payments'),
      { ...allow('web', 'payments'), id: 'no-web', effect: 'deny', paths: ['/private/**'] },
    ]);
    const client = await openTls({ pki, proxy: payments, identity: web.identity });
    client.send('GET /info/../private/x HTTP/1.1\r\nhost: payments\r\nconnection: close\r\n\r\n');
    const text = await client.closed();
    expect(text).toMatch(/^HTTP\/1\.1 403 Forbidden\r\n/);
    const { error } = JSON.parse(text.slice(text.indexOf('\r\n\r\n')));
    expect(error).toMatchObject({
      code: 'ACCESS_DENIED',
      hop: 'inbound',
      reason: 'denied-by-rule',
      rule: 'test/no-web',
    });
    expect(app.accepts()).toBe(0);
    const [record] = await payments.recorded(1);
    expect(record).toMatchObject({ decision: 'deny', rule: 'test/no-web', path: '/private/x', peer: idOf('web') });
  });

  test('the inbound hop decides even when the outbound hop allows', async () => {
    const { web, payments, app } = await pairWith([allow('web', 'payments')]);
    payments.apply({ policy: { revision: 9, rules: [], groups: {} } });
    const answer = await call(web);
    expect(answer.status).toBe(403);
    expect(answer.head).toContain('x-postern-hop: inbound');
    expect(answer.json().error.hop).toBe('inbound');
    expect(app.accepts()).toBe(0);
    expect((await web.recorded(1))[0]).toMatchObject({ decision: 'allow', status: 403 });
  });

  test('Z1: without any policy everything is denied; without a snapshot nothing is taken', async () => {
    const pki = createTestPki();
    const payments = await startProxy({ pki, service: 'payments' });
    const web = await startProxy({ pki, service: 'web', bare: true });
    expect(web.plane.isReady).toBe(false);
    const early = await call(web);
    expect([early.status, early.json().error.code]).toEqual([503, 'PROXY_NOT_READY']);
    web.apply({ services: [serviceEntry('payments', payments.addresses.inbound.port)] });
    expect(web.plane.isReady).toBe(true);
    expect((await call(web)).json().error).toMatchObject({ code: 'ACCESS_DENIED', reason: 'default-deny' });
  });

  test('Z1: the inbound listener of a proxy without a snapshot refuses every connection and records why', async () => {
    const pki = createTestPki();
    const payments = await startProxy({ pki, service: 'payments', bare: true });
    await expect(openTls({ pki, proxy: payments, identity: pki.identity(idOf('web')) })).rejects.toThrow();
    expect((await payments.recorded(1))[0]).toMatchObject({
      kind: 'connection',
      decision: 'error',
      reason: 'TLS_NOT_READY',
    });
  });

  test('an unknown service is named, with the nearest known one', async () => {
    const { web } = await pairWith();
    const answer = await call(web, { host: 'paymens' });
    expect([answer.status, answer.json().error.code]).toEqual([403, 'SERVICE_UNKNOWN']);
    expect(answer.json().error.message).toContain('did you mean payments?');
  });

  test('a service without instances is said to have none', async () => {
    const { web } = await pairWith([allow('web', 'payments')]);
    web.apply({ services: [serviceEntry('payments')] });
    expect((await call(web)).json().error.code).toBe('SERVICE_WITHOUT_ENDPOINTS');
  });

  test('15: a rule for /admin/** never covers /administrator', async () => {
    const { web } = await pairWith([allow('web', 'payments', { paths: ['/admin/**'] })]);
    expect((await call(web, { path: '/administrator' })).status).toBe(403);
    expect((await call(web, { path: '/admin/x' })).status).toBe(200);
  });

  test('10: the case of the host changes nothing about the decision', async () => {
    const { web } = await pairWith([{ ...allow('web', 'payments'), effect: 'deny' }]);
    for (const host of ['PayMents', 'payments.', 'payments:80']) expect((await call(web, { host })).status).toBe(403);
  });
});

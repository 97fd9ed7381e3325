// Decision records at the control plane: each proxy hands in its own and nobody else's; admins ask and follow.
import { describe, expect, test } from 'vitest';
import type { DecisionRecord, RecordReply } from '#wire';
import { createMesh, type Mesh, type MeshProxy } from '../helpers/control-plane.ts';

const record = (proxy: MeshProxy, seq: number, more: object = {}): DecisionRecord => ({
  ...{ v: 1, id: `d-${seq}`, seq, time: new Date().toISOString(), instance: proxy.instance, service: proxy.service },
  ...{ hop: 'inbound', kind: 'exchange', connection: 'c-1', decision: 'allow', reason: 'allowed' },
  ...{ bytesIn: 0, bytesOut: 2, ms: 1.5, path: '/charges', ...more },
});
const send = (proxy: MeshProxy, records: readonly DecisionRecord[]) =>
  proxy.channel.call<{ through: number }>({ method: 'POST', path: '/v1/proxy/records', body: { version: 1, records } });
const query = (mesh: Mesh, text = '') => mesh.admin.call<RecordReply>({ method: 'GET', path: `/v1/records${text}` });

describe('handing in', () => {
  test('is acknowledged once kept, and sending again adds nothing', async () => {
    const mesh = await createMesh();
    const proxy = await mesh.enrol('payments');
    const batch = [record(proxy, 1), record(proxy, 2, { decision: 'deny', reason: 'default-deny' })];
    expect(await send(proxy, batch)).toEqual({ through: 2 });
    expect(await send(proxy, batch)).toEqual({ through: 2 });
    expect((await query(mesh)).records.map(({ seq }) => seq)).toEqual([1, 2]);
    expect((await query(mesh, '?decision=deny&limit=1')).records.map(({ seq }) => seq)).toEqual([2]);
  });

  test.each([
    ['another instance of the service', (other: MeshProxy) => ({ instance: other.instance })],
    ['another service', () => ({ service: 'spiffe://example.org/ledger' })],
  ])('of records of %s is refused whole, and recorded', async (_, forged) => {
    const mesh = await createMesh();
    const [one, other] = [await mesh.enrol('payments'), await mesh.enrol('payments')];
    const batch = [record(one, 1), record(one, 2, forged(other))];
    await expect(send(one, batch)).rejects.toMatchObject({ code: 'RECORD_FOREIGN', status: 403 });
    expect((await query(mesh)).records).toEqual([]);
    expect(await mesh.events('access')).toMatchObject([{ reason: 'RECORD_FOREIGN', actor: one.service }]);
  });
});

test('a question with an unknown, doubled or wrong parameter is refused', async () => {
  const mesh = await createMesh();
  for (const text of ['?colour=red', '?limit=0', '?limit=x', '?decision=maybe', '?limit=1&limit=2']) {
    await expect(query(mesh, text)).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
  }
});

test('following gives matching records as they come, and ends with the server', async () => {
  const mesh = await createMesh();
  const proxy = await mesh.enrol('payments');
  const seen: number[] = [];
  const followed = (async () => {
    for await (const line of mesh.admin.stream({ method: 'GET', path: '/v1/records/tail?decision=deny' })) {
      seen.push((line as DecisionRecord).seq);
      if (seen.length === 2) void mesh.server.close();
    }
  })();
  const deny = { decision: 'deny', reason: 'default-deny' };
  // The tail has no first line to wait for; records are sent until it has two.
  for (let seq = 1; seen.length < 2; seq += 2) {
    await send(proxy, [record(proxy, seq), record(proxy, seq + 1, deny)]).catch(() => undefined);
  }
  await followed;
  expect(seen.every((seq) => seq % 2 === 0)).toBe(true);
});

test('there are only so many followers', async () => {
  const mesh = await createMesh({ limits: { tails: 0 } });
  const follow = mesh.admin.stream({ method: 'GET', path: '/v1/records/tail' })[Symbol.asyncIterator]();
  await expect(follow.next()).rejects.toMatchObject({ code: 'REQUEST_TOO_MANY', status: 429 });
});

test('erasing is for admins, says whose values, and is an event', async () => {
  const mesh = await createMesh();
  const proxy = await mesh.enrol('web');
  const kept = { ...record(proxy, 1), path: '/secret' };
  await send(proxy, [kept, { ...record(proxy, 2), path: '/open' }]);
  const mask = (channel: typeof mesh.admin, body: object) =>
    channel.call<{ erased: number }>({ method: 'POST', path: '/v1/records/mask', body });
  await expect(mask(proxy.channel, { fields: ['path'], before: 1 })).rejects.toMatchObject({ code: 'CALLER_REFUSED' });
  await expect(mask(mesh.admin, { fields: ['path'] })).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
  await expect(mask(mesh.admin, { fields: ['decision'], before: 1 })).rejects.toMatchObject({
    code: 'REQUEST_INVALID',
  });
  expect(await mask(mesh.admin, { fields: ['path'], id: kept.id })).toEqual({ erased: 1 });
  expect((await query(mesh)).records.map(({ path }) => path)).toEqual([undefined, '/open']);
  const events = await mesh.events('records.mask');
  expect(events.at(-1)).toMatchObject({ outcome: 'done', subject: kept.id, details: { fields: 'path', erased: 1 } });
});

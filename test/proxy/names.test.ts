// Names of endpoints: asked of a real name server on loopback, which may also say nothing.
import { createSocket } from 'node:dgram';
import dns from 'node:dns';
import { isIPv6 } from 'node:net';
import { promisify } from 'node:util';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { createLookup } from '../../proxy/names.ts';
import { createClock } from '../helpers/clock.ts';
import { allow, call, serviceEntry, startApp, startPair } from '../helpers/mesh.ts';

type Answers = Readonly<Record<string, readonly string[] | 'silent'>>;

/** Answers A and AAAA questions from a table; names that are not in it do not exist. */
async function startNameServer(answers: Answers) {
  const state = { answers, questions: 0 };
  const socket = createSocket('udp4');
  socket.on('message', (query, from) => {
    state.questions++;
    const labels: string[] = [];
    let at = 12;
    for (; query[at]; at += query[at]! + 1) labels.push(query.toString('latin1', at + 1, at + 1 + query[at]!));
    const type = query.readUInt16BE(at + 1);
    const found = state.answers[labels.join('.').toLowerCase()];
    if (found === 'silent') return;
    const wanted = (found ?? []).filter((address) => isIPv6(address) === (type === 28));
    const head = Buffer.alloc(12);
    query.copy(head, 0, 0, 2);
    head.writeUInt16BE(found ? 0x8180 : 0x8183, 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(wanted.length, 6);
    const rows = wanted.map((address) => {
      const data =
        type === 1 ? Buffer.from(address.split('.').map(Number)) : Buffer.concat([Buffer.alloc(15), Buffer.of(1)]);
      return Buffer.concat([Buffer.of(0xc0, 12, 0, type, 0, 1, 0, 0, 0, 60, 0, data.length), data]);
    });
    socket.send(Buffer.concat([head, query.subarray(12, at + 5), ...rows]), from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  onTestFinished(() => void socket.close());
  return Object.assign(state, { address: `127.0.0.1:${socket.address().port}` });
}

async function start(answers: Answers = {}) {
  const server = await startNameServer(answers);
  const clock = createClock();
  const lookup = createLookup({ clock, servers: [server.address], questionMs: 50 });
  const all = (name: string): Promise<unknown> =>
    new Promise((resolve, reject) =>
      lookup(name, { all: true }, (error, found) => (error ? reject(error) : resolve(found))),
    );
  return { server, clock, lookup, all };
}

describe('a name', () => {
  test('has the addresses that DNS gives, asked once for all who want them', async () => {
    const { server, lookup, all } = await start({ 'web.example': ['192.0.2.7', '::1'], 'six.example': ['::1'] });
    const both = [
      { address: '192.0.2.7', family: 4 },
      { address: '::1', family: 6 },
    ];
    expect(await Promise.all([all('web.example'), all('WEB.example'), all('web.example')])).toEqual([both, both, both]);
    expect(await all('web.example')).toEqual(both);
    expect(server.questions).toBe(2);
    expect(await promisify(lookup)('six.example', {})).toBe('::1');
  });

  test('that a name server does not know, or is silent about, says so soon', async () => {
    const { all } = await start({ 'silent.example': 'silent' });
    await expect(all('none.example')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    await expect(all('silent.example')).rejects.toMatchObject({ code: 'EAI_AGAIN' });
  });

  test('is asked for again after a while, and keeps its last good address while nobody answers', async () => {
    const { server, clock, all } = await start({ 'web.example': ['192.0.2.7'] });
    await all('web.example');
    server.answers = { 'web.example': ['192.0.2.8'] };
    clock.advance(14_000);
    expect(await all('web.example')).toMatchObject([{ address: '192.0.2.7' }]);
    clock.advance(2_000);
    expect(await all('web.example')).toMatchObject([{ address: '192.0.2.8' }]);
    server.answers = { 'web.example': 'silent' };
    clock.advance(60_000);
    expect(await all('web.example')).toMatchObject([{ address: '192.0.2.8' }]);
  });

  test('localhost is this machine, whatever DNS says', async () => {
    const { server, all } = await start({ localhost: ['192.0.2.7'] });
    expect(await all('localhost')).toMatchObject([{ address: '127.0.0.1' }, { address: '::1' }]);
    expect(server.questions).toBe(0);
  });
});

test('an endpoint known by name is reached without a thread of getaddrinfo', async () => {
  const system = vi.spyOn(dns, 'lookup');
  onTestFinished(() => system.mockRestore());
  const { web, payments } = await startPair({ app: await startApp((_, response) => response.end('ok')) });
  const entry = serviceEntry('payments', payments.addresses.inbound.port);
  const endpoints = entry.endpoints.map((one) => ({ ...one, address: one.address.replace('127.0.0.1', 'localhost') }));
  web.apply({
    services: [{ ...entry, endpoints }],
    policy: { revision: 9, rules: [allow('web', 'payments')], groups: {} },
  });
  expect(await call(web)).toMatchObject({ status: 200 });
  expect(system.mock.calls.map(([name]) => name)).not.toContain('localhost');
});

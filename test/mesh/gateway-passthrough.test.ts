import type { AddressInfo } from 'node:net';
import { connect as connectTls, createServer, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { portOf, startTown, type Town } from '../helpers/gateway.ts';
import { openRaw } from '../helpers/mesh.ts';
import { createOutsideCa } from '../helpers/outside-server.ts';
import { eventually } from '../helpers/until.ts';

const ca = createOutsideCa();
const servers = ['blue', 'green'].map((name) =>
  createServer({ ...ca.issue([`${name}.example.com`, 'bank.example.com']), allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => socket.write(`${name} ${bytes.toString()}`));
  }),
);
let town: Town & { end(): Promise<void> };
let port: number;

beforeAll(async () => {
  town = await startTown();
  for (const server of servers) await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  for (const [index, name] of ['blue', 'green', 'closed'].entries()) {
    const { port: at } = servers[Math.min(index, 1)]!.address() as AddressInfo;
    await town.sidecar(name, at, '--app', `tcp://127.0.0.1:${at}`);
  }
  await town.apply(`
kind: Policy
name: bank
to: [blue, green]
rules: [{ id: edge, effect: allow, from: [edge], methods: [CONNECT] }]
---
kind: Policy
name: vault
to: closed
rules: [{ id: edge, effect: allow, from: [edge], methods: [GET] }]
---
kind: VirtualService
name: bank
service: blue
hosts: [blue.example.com, bank.example.com, "*.unrouted.example.com"]
tls:
  - match: [{ sni: [blue.example.com, bank.example.com] }]
    route: [{ cluster: blue }]
---
kind: VirtualService
name: garden
service: green
hosts: [green.example.com]
tls:
  - match: [{ sni: [green.example.com] }]
    route: [{ cluster: green }]
---
kind: VirtualService
name: vault
service: closed
hosts: [closed.example.com]
tls: [{ match: [{ sni: [closed.example.com] }], route: [{ cluster: closed }] }]
`);
  const gateway = await town.gateway(
    `
admin: 127.0.0.1:0
metrics: 127.0.0.1:0
services:
  - service: edge
    listeners:
      - listen: 127.0.0.1:0
        passthrough: true
        hosts: [blue.example.com, green.example.com, bank.example.com, closed.example.com, "*.unrouted.example.com"]
`,
    ['edge'],
  );
  port = portOf(gateway.ready.services[0]!.listeners![0]);
}, 90_000);
afterAll(async () => {
  await town.end();
  for (const server of servers) server.close();
});

async function shake(servername: string | undefined): Promise<TLSSocket> {
  const socket = connectTls({ host: '127.0.0.1', port, ca: ca.pem, ...(servername && { servername }) });
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve).once('error', reject);
    socket.once('close', () => reject(new Error('closed')));
  });
  return socket;
}

async function echo(servername: string): Promise<string> {
  const socket = await shake(servername);
  const answer = new Promise<string>((resolve) => socket.once('data', (bytes) => resolve(bytes.toString())));
  socket.write('hello');
  const text = await answer;
  socket.destroy();
  return text;
}

describe('TLS that does not end at the edge', () => {
  test('goes to the service of the name that it asks for, which shows its own certificate', async () => {
    expect(
      await eventually(
        () => echo('blue.example.com').catch(String),
        (text) => text === 'blue hello',
      ),
    ).toBe('blue hello');
    expect(await echo('green.example.com')).toBe('green hello');
    expect(await echo('bank.example.com')).toBe('blue hello');
  });

  test('is cut where policy, the listener or the routes know no way, and for what is no TLS', async () => {
    await eventually(
      () => echo('blue.example.com').catch(String),
      (text) => text === 'blue hello',
    );
    for (const name of ['closed.example.com', 'other.example.com', 'a.unrouted.example.com', undefined])
      await expect(shake(name), name ?? 'no name').rejects.toThrow();
    const client = await openRaw(port);
    client.send('GET / HTTP/1.1\r\nhost: blue.example.com\r\n\r\n');
    expect(await client.closed()).toBe('');
    const { stdout } = await eventually(
      () => town.postern('audit', 'query', '-o', 'json'),
      ({ stdout }) => /TLS_HELLO_INVALID/.test(stdout) && /EDGE_HOST_UNKNOWN/.test(stdout),
    );
    expect(stdout).toMatch(/"decision":\s*"deny"/);
  });
});

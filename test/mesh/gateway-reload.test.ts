import { readFileSync } from 'node:fs';
import { Agent, request as httpRequest } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { ask, type GatewayReady, portOf, townOfFile } from '../helpers/gateway.ts';
import { openRaw, startApp } from '../helpers/mesh.ts';
import { createOutsideCa } from '../helpers/outside-server.ts';
import type { Process } from '../helpers/processes.ts';
import { eventually } from '../helpers/until.ts';

const town = townOfFile();

const at = '127.0.0.1:0';
const resources = `
kind: Policy
name: web
to: web
rules: [{ id: edge, effect: allow, from: [edge, other] }]
---
kind: VirtualService
name: shop
service: web
hosts: [shop.example.com, new.example.com]
http: [{ route: [{ cluster: web }] }]
`;
const edge = (listeners: string, more = ''): string =>
  `admin: ${at}\nmetrics: ${at}\nservices:\n  - service: edge\n    listeners:\n${listeners}\n${more}`;

interface Statuses {
  stop(): Promise<readonly number[]>;
}

/** Requests one after the other over a few connections that are kept, until told to stop. Whatever is no answer is a 0. */
function load(port: number, host: string): Statuses {
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  const seen: number[] = [];
  let isOver = false;
  const one = (): Promise<void> =>
    new Promise((resolve) => {
      httpRequest({ agent, host: '127.0.0.1', port, path: '/a', headers: { host } }, (answer) => {
        answer.resume();
        answer.on('end', () => {
          seen.push(answer.statusCode ?? 0);
          resolve();
        });
      })
        .on('error', () => {
          seen.push(0);
          resolve();
        })
        .end();
    });
  const run = async (): Promise<void> => {
    while (!isOver) await one();
  };
  const running = [run(), run(), run(), run()];
  return {
    async stop() {
      isOver = true;
      await Promise.all(running);
      agent.destroy();
      return seen;
    },
  };
}

const isOpen = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket: Socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });

async function freePort(): Promise<number> {
  const app = await startApp((_, response) => response.end());
  app.server.close();
  return app.port;
}

async function startEdge(listeners: string): Promise<{ gateway: Process<GatewayReady>; rewrite(yaml: string): void }> {
  const app = await startApp((_, response) => response.end('ok'));
  await town.sidecar('web', app.port);
  await town.apply(resources);
  const gateway = await town.gateway(edge(listeners), ['edge']);
  const file = (gateway.ready as unknown as { config: string }).config;
  return {
    gateway,
    rewrite(yaml) {
      town.write(file.slice(town.folder.length + 1), yaml);
      gateway.signal('SIGHUP');
    },
  };
}

describe('the file of a gateway is read again while it serves', () => {
  test('listeners, hosts and services come, change and go without a failed request elsewhere', async () => {
    const [one, two, three] = [await freePort(), await freePort(), await freePort()];
    const { gateway, rewrite } = await startEdge(
      `      - { listen: 127.0.0.1:${one}, hosts: [shop.example.com] }\n      - { listen: 127.0.0.1:${two}, hosts: [shop.example.com] }`,
    );
    const status = async (port: number, host: string): Promise<number> =>
      (await isOpen(port)) ? (await ask(port, ['GET /a HTTP/1.1', `host: ${host}`])).status : 0;
    await eventually(
      () => status(one, 'shop.example.com'),
      (found) => found === 200,
    );
    const running = load(one, 'shop.example.com');
    expect(await status(one, 'new.example.com')).toBe(404);
    rewrite(
      edge(
        `      - { listen: 127.0.0.1:${one}, hosts: [shop.example.com, new.example.com] }\n      - { listen: 127.0.0.1:${three}, hosts: [new.example.com] }`,
        `  - { service: other, tokenFile: other.token, listeners: [{ listen: ${at}, hosts: [shop.example.com] }] }`,
      ),
    );
    // Its token is not there: nothing of it came into force.
    await eventually(gateway.said, (said) => /cannot be put in force.*other.token/.test(said));
    expect(await status(one, 'new.example.com')).toBe(404);
    expect(await isOpen(two)).toBe(true);
    town.write('other.token', await town.token('other'));
    gateway.signal('SIGHUP');
    await eventually(
      () => status(three, 'new.example.com'),
      (found) => found === 200,
    );
    expect(await status(one, 'new.example.com')).toBe(200);
    await eventually(
      () => isOpen(two),
      (open) => !open,
    );
    const { stdout } = await town.postern('status', '-o', 'json');
    expect(stdout).toContain('spiffe://example.org/other');
    for (let nth = 0; nth < 20; nth++)
      rewrite(edge(`      - { listen: 127.0.0.1:${one}, hosts: [shop.example.com, x${nth}.example.com] }`));
    await eventually(
      () => isOpen(three),
      (open) => !open,
    );
    const seen = await running.stop();
    expect(seen.length).toBeGreaterThan(50);
    expect(seen.filter((one) => one !== 200)).toEqual([]);
  });

  test('a file with problems is refused whole, each with its place, and the one before stays', async () => {
    const port = await freePort();
    const { gateway, rewrite } = await startEdge(`      - { listen: 127.0.0.1:${port}, hosts: [shop.example.com] }`);
    await eventually(
      () => ask(port, ['GET /a HTTP/1.1', 'host: shop.example.com']),
      ({ status }) => status === 200,
    );
    const running = load(port, 'shop.example.com');
    rewrite(edge(`      - { listen: 127.0.0.1:${port}, host: [new.example.com] }\n      - { listen: nowhere }`));
    await eventually(gateway.said, (said) => /gateway-\d+.yaml:7:19: .*HOST:PORT/.test(said));
    expect(gateway.said()).toMatch(/gateway-\d+.yaml:6:\d+: unknown key \\"host\\"","hint":"did you mean hosts\?"/);
    rewrite('services: [');
    rewrite(edge(`      - { listen: 127.0.0.1:${portOf(gateway.ready.admin)}, hosts: [shop.example.com] }`));
    await eventually(gateway.said, (said) => /cannot be put in force.*PROXY_LISTEN_FAILED/.test(said));
    const seen = await running.stop();
    expect(seen.filter((status) => status !== 200)).toEqual([]);
    expect((await ask(port, ['GET /a HTTP/1.1', 'host: shop.example.com'])).status).toBe(200);
  });

  test('a new certificate is shown from the next handshake on, by itself, and open connections go on', async () => {
    const ca = createOutsideCa();
    const put = (serial: string): void => {
      const { cert, key } = ca.issue(['shop.example.com', `${serial}.example.com`]);
      town.write('live.crt', cert, 0o644);
      town.write('live.key', key);
    };
    put('first');
    const port = await freePort();
    await startEdge(
      `      - { listen: 127.0.0.1:${port}, hosts: [shop.example.com], tls: { certFile: live.crt, keyFile: live.key } }`,
    );
    const shake = async () => {
      const socket = connectTls({ host: '127.0.0.1', port, servername: 'shop.example.com', ca: ca.pem });
      await new Promise<void>((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
      return socket;
    };
    const before = await shake();
    expect(before.getPeerX509Certificate()!.subjectAltName).toContain('first');
    put('second');
    const names = async (): Promise<string> => {
      const socket = await shake();
      const found = socket.getPeerX509Certificate()!.subjectAltName!;
      socket.destroy();
      return found;
    };
    await eventually(names, (found) => found.includes('second'));
    const answer = new Promise<string>((resolve) => before.once('data', (bytes) => resolve(bytes.toString())));
    before.write('GET /a HTTP/1.1\r\nhost: nobody.example.com\r\n\r\n');
    expect(await answer).toMatch(/^HTTP\/1.1 404/);
    before.destroy();
  });
});

test('a gateway that is told to stop lets what runs end, and takes nothing new', async () => {
  let finish: (() => void) | undefined;
  const app = await startApp((_, response) => {
    response.write('begun ');
    finish = () => response.end('and ended');
  });
  await town.sidecar('web', app.port);
  await town.apply(resources);
  const gateway = await town.gateway(edge(`      - { listen: ${at}, hosts: [shop.example.com] }`), ['edge']);
  const port = portOf(gateway.ready.services[0]!.listeners![0]);
  const client = await eventually(
    async () => {
      const one = await openRaw(port);
      one.send('GET /a HTTP/1.1\r\nhost: shop.example.com\r\n\r\n');
      await one.until(/\r\n\r\n/);
      return one;
    },
    ({ text }) => text.startsWith('HTTP/1.1 200'),
  );
  await client.until(/begun/);
  gateway.signal('SIGTERM');
  await eventually(
    () => isOpen(port),
    (open) => !open,
  );
  finish!();
  expect(await client.closed()).toMatch(/begun [\s\S]*and ended/);
  expect((await gateway.outcome).code).toBe(0);
});

test('each identity is kept in a folder of its own, and serves again without a token', async () => {
  const gateway = await town.gateway(edge(`      - { listen: ${at}, redirectToHttps: true }`), ['edge']);
  const { home, config } = gateway.ready as unknown as { home: string; config: string };
  expect((await gateway.stop()).code).toBe(0);
  const again = await town.restart(home, config);
  expect(again.ready.services[0]!.instance).toBe(gateway.ready.services[0]!.instance);
  expect(readFileSync(join(home, 'gateway', 'edge', 'svid.pem'), 'latin1')).toMatch(/^-----BEGIN CERTIFICATE/);
});

test('every thread of a service takes what its file says now', async () => {
  const app = await startApp((_, response) => response.end('ok'));
  await town.sidecar('web', app.port);
  await town.apply(resources);
  const port = await freePort();
  const text = (hosts: string): string =>
    edge(`      - { listen: 127.0.0.1:${port}, hosts: [${hosts}] }`, '    workers: 3');
  const gateway = await town.gateway(text('shop.example.com'), ['edge']);
  const statuses = async (host: string): Promise<string> => {
    const asked = Array.from({ length: 24 }, () => ask(port, ['GET /a HTTP/1.1', `host: ${host}`]));
    return [...new Set((await Promise.all(asked)).map(({ status }) => status))].sort().join();
  };
  await eventually(
    () => statuses('shop.example.com'),
    (found) => found === '200',
  );
  const { config } = gateway.ready as unknown as { config: string };
  town.write(config.slice(town.folder.length + 1), text('new.example.com'));
  gateway.signal('SIGHUP');
  await eventually(
    () => statuses('new.example.com'),
    (found) => found === '200',
  );
  expect(await statuses('shop.example.com')).toBe('404');
  expect((await gateway.stop()).code).toBe(0);
});

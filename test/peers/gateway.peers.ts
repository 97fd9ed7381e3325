// The edge of the mesh as curl and OpenSSL find it: certificates by name, HTTP/2 and HTTP/1.1, redirects followed, TLS passed on to OpenSSL's own server.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type GatewayReady, portOf, startTown, type Town } from '../helpers/gateway.ts';
import { createOutsideCa } from '../helpers/outside-server.ts';
import type { Process } from '../helpers/processes.ts';
import { eventually } from '../helpers/until.ts';
import { freeAddress } from './mesh.ts';
import { programPath } from './programs.ts';

const run = promisify(execFile);
const ca = createOutsideCa();
let town: Town & { end(): Promise<void> };
let app: Server;
let vault: ChildProcess;
let gateway: Process<GatewayReady>;
let plain: number;
let secure: number;
let passed: number;

beforeAll(async () => {
  town = await startTown();
  town.write('ca.pem', ca.pem, 0o644);
  for (const name of ['shop', 'bank', 'vault']) {
    const { cert, key } = ca.issue([`${name}.example.com`]);
    town.write(`${name}.crt`, cert, 0o644);
    town.write(`${name}.key`, key);
  }
  app = createServer((request, response) => response.end(`${request.url} ${request.headers['x-forwarded-proto']}\n`));
  await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve));
  const at = await freeAddress();
  const [cert, key] = ['vault.crt', 'vault.key'].map((name) => `${town.folder}/${name}`);
  vault = spawn(programPath('openssl'), ['s_server', '-accept', at, '-cert', cert!, '-key', key!, '-www', '-quiet']);
  await town.sidecar('web', (app.address() as AddressInfo).port);
  await town.sidecar('vault', 1, '--app', `tcp://${at}`);
  await town.apply(`
kind: Policy
name: all
to: [web, vault]
rules: [{ id: edge, effect: allow, from: [edge] }]
---
kind: VirtualService
name: shop
service: web
hosts: [shop.example.com, bank.example.com]
http: [{ route: [{ cluster: web }] }]
---
kind: VirtualService
name: safe
service: vault
hosts: [vault.example.com]
tls: [{ match: [{ sni: [vault.example.com] }], route: [{ cluster: vault }] }]
`);
  const port = portOf(await freeAddress());
  gateway = await town.gateway(
    `
admin: 127.0.0.1:0
metrics: 127.0.0.1:0
services:
  - service: edge
    listeners:
      - { listen: 127.0.0.1:0, redirectToHttps: { port: ${port} } }
      - listen: 127.0.0.1:${port}
        hosts: [shop.example.com, bank.example.com]
        tls: { certificates: [{ certFile: shop.crt, keyFile: shop.key }, { certFile: bank.crt, keyFile: bank.key }] }
      - { listen: 127.0.0.1:0, passthrough: true, hosts: [vault.example.com] }
`,
    ['edge'],
  );
  [plain, secure, passed] = gateway.ready.services[0]!.listeners!.map(portOf) as [number, number, number];
}, 90_000);
afterAll(async () => {
  vault?.kill();
  await town.end();
  app.close();
});

/** What curl prints for a URL of this host. */
async function curl(host: string, port: number, ...words: string[]): Promise<string> {
  const where = [plain, secure, passed].flatMap((each) => ['--resolve', `${host}:${each}:127.0.0.1`]);
  const scheme = port === plain ? 'http' : 'https';
  const all = ['-sS', '--cacert', `${town.folder}/ca.pem`, ...where, ...words, `${scheme}://${host}:${port}/a`];
  return (await run(programPath('curl'), all)).stdout;
}

describe('curl', () => {
  test('verifies each host by its own certificate, in HTTP/2 and HTTP/1.1', async () => {
    const said = ['-w', '%{http_version} %{response_code}'];
    const found = await eventually(
      () => curl('shop.example.com', secure, '--http2', ...said),
      (text) => text.endsWith('200'),
    );
    expect(found).toBe('/a https\n2 200');
    expect(await curl('bank.example.com', secure, '--http1.1', ...said)).toBe('/a https\n1.1 200');
    expect(await curl('shop.example.com', secure, '--tls-max', '1.2', ...said)).toBe('/a https\n2 200');
  });

  test('is led from HTTP to HTTPS, and keeps its method on the way', async () => {
    await eventually(
      () => curl('shop.example.com', plain, '-L', '-X', 'POST', '-d', 'x', '-w', '%{response_code} %{method}'),
      (text) => text === '/a https\n200 POST',
    );
  });

  test('refuses the edge for a host that it has no certificate for', async () => {
    await expect(curl('other.example.com', secure)).rejects.toThrow();
  });

  test('speaks through the edge with the TLS of a server behind it', async () => {
    const page = await eventually(
      () => curl('vault.example.com', passed).catch(String),
      (text) => text.includes('s_server'),
    );
    expect(page).toContain('TLSv1.3');
  });
});

test('openssl s_client sees the chain of the name that it asks for, no renegotiation and no old version', async () => {
  const ask = (...words: string[]): Promise<string> =>
    new Promise((resolve) => {
      const child = execFile(
        programPath('openssl'),
        ['s_client', '-connect', `127.0.0.1:${secure}`, '-CAfile', `${town.folder}/ca.pem`, ...words],
        (_, stdout, stderr) => resolve(stdout + stderr),
      );
      child.stdin!.end();
    });
  const bank = await ask('-servername', 'bank.example.com', '-verify_return_error', '-alpn', 'h2');
  expect(bank).toMatch(/Verify return code: 0 \(ok\)/);
  expect(bank).toMatch(/ALPN protocol: h2/);
  expect(bank).toContain('bank.example.com');
  expect(await ask('-servername', 'shop.example.com', '-tls1_1')).toMatch(/alert|error/i);
  expect(await ask('-servername', 'evil.example.com')).toMatch(/no peer certificate available/);
});

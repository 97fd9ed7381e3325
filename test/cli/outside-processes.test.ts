// Sidecars as processes of their own, one of them with two threads, that call a cluster which a name server of the test knows: it changes, and it dies.

import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { anyPorts } from '../../cli/demo/processes.ts';
import { httpCall } from '../helpers/http-call.ts';
import { startNameServer } from '../helpers/name-server.ts';
import { createHome, runPostern } from '../helpers/postern.ts';
import { initHome, type Process, startProcess } from '../helpers/processes.ts';
import { eventually } from '../helpers/until.ts';

async function listen(answer: string, at: { host: string; port: number }): Promise<number> {
  const server = createServer((_, response) => response.end(answer));
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(at.port, at.host, resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

const yaml = (port: number): string => `
kind: Cluster
name: shop
endpoints: { dns: "shop.internal:${port}" }
hosts: [shop.internal]
plaintext: true
---
kind: Policy
name: shop-callers
to: shop
rules: [{ id: all, effect: allow, from: [web, orders] }]
`;

test('a name server that changes is followed by every process and thread, and one that dies costs no request', async () => {
  const port = await listen('one', { host: '127.0.0.1', port: 0 });
  await listen('two', { host: '127.0.0.2', port });
  const names = await startNameServer({ 'shop.internal': ['127.0.0.1'] });
  names.ttl = 1;
  const home = createHome();
  onTestFinished(() => home[Symbol.dispose]());
  await initHome(home.path);
  const server = await startProcess(['--home', home.path, 'server', '--listen', '127.0.0.1:0']);
  onTestFinished(() => void server.stop());
  const sidecar = async (service: string, ...words: string[]): Promise<Process<Record<string, string>>> => {
    const own = createHome();
    const { stdout } = await runPostern(['--home', home.path, 'token', 'create', service, '-o', 'json']);
    const token = JSON.parse(stdout).token as string;
    const all = ['--home', own.path, 'sidecar', '--token', token, '--dns', names.address, ...words, ...anyPorts];
    const started = await startProcess(all);
    onTestFinished(async () => {
      await started.stop();
      own[Symbol.dispose]();
    });
    return started;
  };
  const sidecars = [await sidecar('web'), await sidecar('orders', '--workers', '2')];
  const file = join(home.path, 'shop.yaml');
  writeFileSync(file, yaml(port));
  const applied = await runPostern(['--home', home.path, 'apply', '-f', file]);
  expect([applied.code, applied.stderr]).toEqual([0, expect.any(String)]);

  const callAll = () =>
    Promise.all(
      sidecars.flatMap(({ ready }) =>
        Array.from({ length: 10 }, () => httpCall(ready.outbound!, { host: 'shop.internal' })),
      ),
    );
  const allAre = async (body: string): Promise<void> => {
    await eventually(callAll, (answers) => answers.every((one) => one.status === 200 && one.body === body));
  };
  await allAre('one');
  names.zones = { 'shop.internal': ['127.0.0.2'] };
  await allAre('two');
  names.close();
  for (const { ready } of sidecars)
    await eventually(
      async () => (await httpCall(ready.metrics!, { path: '/metrics' })).body,
      (text) => Number(/postern_dns_answers_total\{outcome="kept"\} (\d+)/.exec(text)?.[1] ?? 0) > 0,
    );
  for (const { status, body } of await callAll()) expect([status, body]).toEqual([200, 'two']);
  await eventually(
    () => sidecars.map(({ said }) => said()),
    (texts) => texts.every((text) => text.includes('the last good ones stay in use')),
  );
});

test('a name server that is no address is refused before anything starts', async () => {
  const home = createHome();
  onTestFinished(() => home[Symbol.dispose]());
  const { code, stderr } = await runPostern(['--home', home.path, 'sidecar', '--dns', '300.1.1.1:53']);
  expect([code, stderr]).toEqual([2, expect.stringMatching(/--dns 300\.1\.1\.1:53 is not the address and port/)]);
});

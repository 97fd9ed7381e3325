// A real sidecar with three threads beside a real control plane: one port, one identity, one sequence of records that verifies, one set of numbers.
import { createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import type { DecisionRecord, IdentityStatus } from '#wire';
import { anyPorts } from '../../cli/demo/processes.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { openRaw } from '../helpers/mesh.ts';
import { runPostern } from '../helpers/postern.ts';
import { initHome, openClients, startProcess } from '../helpers/processes.ts';
import { eventually } from '../helpers/until.ts';

const textAt = (url: string): Promise<string> =>
  new Promise((resolve, reject) => {
    get(url, { agent: false }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      answer.on('end', () => resolve(text));
    }).on('error', reject);
  });

interface Connections {
  readonly workers: readonly { readonly outbound: number }[];
}

test('every exchange of every thread is in the one log, which verifies, and nowhere twice', async () => {
  const home = temporaryFolder();
  await initHome(home);
  const server = await startProcess(['server', '--home', home, '--listen', '127.0.0.1:0']);
  onTestFinished(async () => void (await server.stop('SIGKILL')));
  const { admin, close } = openClients(home, server.ready.url!);
  onTestFinished(close);
  const app = createServer((_, answer) => answer.end('hello'));
  await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    app.close();
    app.closeAllConnections();
  });
  const resources = [
    { resource: { kind: 'Policy', name: 'p', to: 'web', rules: [{ id: 'r', effect: 'allow', from: ['web'] }] } },
  ];
  await admin.call({ method: 'POST', path: '/v1/resources', body: { version: 1, resources } });
  const { token } = await admin.call<{ token: string }>({
    method: 'POST',
    path: '/v1/tokens',
    body: { version: 1, service: 'web' },
  });
  const own = temporaryFolder();
  const at = `127.0.0.1:${(app.address() as AddressInfo).port}`;
  const words = ['sidecar', '--home', own, ...anyPorts, '--app', at, '--token', token, '--workers', '3'];
  const sidecar = await startProcess(words);
  onTestFinished(async () => void (await sidecar.stop('SIGKILL')));
  const port = Number(sidecar.ready.outbound!.split(':').at(-1));
  const mayCall = (): Promise<boolean> =>
    openRaw(port).then((client) => {
      client.send('GET /first HTTP/1.1\r\nhost: web\r\n\r\n');
      return client.until(/hello|\}\n/).then((text) => text.includes('hello'));
    });
  await eventually(mayCall, (may) => may);

  // Each of 45 connections sends four, one after the other.
  const clients = await Promise.all(Array.from({ length: 45 }, () => openRaw(port)));
  for (let round = 1; round <= 4; round++) {
    for (const [nth, client] of clients.entries()) client.send(`GET /${nth}/${round} HTTP/1.1\r\nhost: web\r\n\r\n`);
    for (const client of clients) await client.until(new RegExp(`(hello[\\s\\S]*){${round}}`));
  }
  const shown = JSON.parse(await textAt(`http://${sidecar.ready.admin}/connections`)) as Connections;
  expect(shown.workers.map(({ outbound }) => outbound > 0)).toEqual([true, true, true]);
  const metrics = await textAt(`http://${sidecar.ready.metrics}/metrics`);
  const allowed = Number(
    /postern_requests_total\{hop="outbound",decision="allow",status="2xx"\} (\d+)/.exec(metrics)![1],
  );
  expect(allowed).toBe(181);
  expect((await sidecar.stop()).code).toBe(0);

  const { identities } = await admin.call<{ identities: IdentityStatus[] }>({ method: 'GET', path: '/v1/identities' });
  expect(identities.filter(({ id }) => id.endsWith('/web')).map(({ instances }) => instances)).toEqual([1]);
  const verified = await runPostern(['audit', 'verify', own, '-o', 'json']);
  expect([verified.code, verified.stdout, verified.stderr]).toEqual([
    0,
    expect.any(String),
    expect.not.stringContaining('error'),
  ]);
  const { records } = await admin.call<{ records: DecisionRecord[] }>({
    method: 'GET',
    path: '/v1/records?limit=10000',
  });
  const seqs = records.map(({ seq }) => seq).sort((a, b) => a - b);
  expect(seqs).toEqual(Array.from({ length: seqs.length }, (_, index) => index + 1));
  expect(new Set(records.map(({ id }) => id)).size).toBe(records.length);
  for (const hop of ['outbound', 'inbound']) {
    const paths = records.filter((one) => one.hop === hop && one.decision === 'allow').map(({ path }) => path!);
    const expected = clients.flatMap((_, nth) => [1, 2, 3, 4].map((round) => `/${nth}/${round}`));
    expect(paths.filter((path) => path !== '/first').sort()).toEqual(expected.sort());
  }
}, 60_000);

test.each(['0', '257', '1.5', 'two'])('--workers %s is refused before anything starts', async (workers) => {
  const { code, stderr } = await runPostern(['sidecar', '--home', temporaryFolder(), '--workers', workers]);
  expect([code, stderr]).toEqual([expect.any(Number), expect.stringMatching(/--workers must be /)]);
  expect(code).not.toBe(0);
});

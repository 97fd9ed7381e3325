// Settings of the mesh as docs/observability.md has them, applied to a real control plane: sidecars of one and of several threads send their spans, and stop when told.
import { readFileSync } from 'node:fs';
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { systemClock } from '#base/clock';
import { parseResources } from '#config/resources';
import type { RecordReply } from '#wire';
import { startCollector } from '../helpers/collector.ts';
import { createMesh } from '../helpers/control-plane.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { runSidecar } from '../helpers/sidecar.ts';
import { eventually } from '../helpers/until.ts';

const clock = { ...systemClock, advance: () => undefined, step: () => undefined };
const page = readFileSync(new URL('../../docs/observability.md', import.meta.url), 'utf8');
const examples = [...page.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text]) => text!);

const ask = (address: string, path: string, headers: Record<string, string> = {}) =>
  new Promise<{ status: number; text: string }>((resolve, reject) => {
    httpRequest(`http://${address}${path}`, { agent: false, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.on('end', () => resolve({ status: response.statusCode!, text }));
    })
      .on('error', reject)
      .end();
  });

test('every example of the page is a resource', () => {
  expect(examples.length).toBeGreaterThan(1);
  for (const text of examples) {
    const { resources, problems } = parseResources(text, 'docs/observability.md');
    expect([resources.length, problems]).toEqual([1, []]);
  }
});

test('spans of all threads reach the collector of the mesh, with the same ids as the records; none after it is unset', async () => {
  const collector = await startCollector();
  const mesh = await createMesh({ clock });
  const apply = (resource: unknown) =>
    mesh.admin.call({ method: 'POST', path: '/v1/resources', body: { version: 1, resources: [{ resource }] } });
  await apply({ kind: 'Policy', name: 'p', to: 'payments', rules: [{ id: 'r', effect: 'allow', from: ['web'] }] });
  const app = createServer((_, response) => response.end('charged'));
  await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    app.closeAllConnections();
    app.close();
  });
  const at = `127.0.0.1:${(app.address() as AddressInfo).port}`;
  await runSidecar(temporaryFolder(), { token: await mesh.token('payments'), app: at });
  const web = await runSidecar(temporaryFolder(), { token: await mesh.token('web'), workers: 3 });
  const [example] = examples.filter((text) => text.includes('tracing:'));
  const text = example!.replace('http://127.0.0.1:4318', collector.url).replace('sampling: 5', 'sampling: 100');
  await apply(parseResources(text, 'docs/observability.md').resources[0]!.resource);
  const call = () => ask(web.addresses.outbound, '/charges', { host: 'payments' });
  // Until a trace begins at the caller and both hops take part.
  await eventually(
    async () => {
      await call();
      return collector.spans.length;
    },
    (count) => count >= 8,
  );
  for (let n = 0; n < 60; n++) expect((await call()).status).toBe(200);
  await eventually(
    () => collector.spans.filter(({ kind }) => kind === 2).length,
    (count) => count >= 60,
  );
  expect(collector.problems).toEqual([]);
  const inbound = collector.spans.findLast(({ kind }) => kind === 2)!;
  const parent = await eventually(
    () => collector.spans.find(({ spanId }) => spanId === inbound.parentSpanId),
    (found) => found !== undefined,
  );
  expect(parent!.attributes).toMatchObject({ 'service.name': 'web', 'postern.cluster': 'payments' });
  expect(inbound.attributes).toMatchObject({ 'service.name': 'payments', 'postern.rule': 'p/r' });
  const path = `/v1/records?trace=${inbound.traceId}`;
  const { records } = await eventually(
    () => mesh.admin.call<RecordReply>({ method: 'GET', path }),
    (reply) => reply.records.length === 2,
  );
  expect(records.map(({ spanId }) => spanId).toSorted()).toEqual([inbound.spanId, parent!.spanId].toSorted());
  const { text: numbers } = await ask(web.addresses.metrics, '/metrics');
  expect(Number(/^postern_spans_exported_total (\d+)$/m.exec(numbers)![1])).toBeGreaterThan(60);

  await apply({ kind: 'Mesh', name: 'mesh' });
  await eventually(
    async () => {
      await call();
      const { records: newest } = await mesh.admin.call<RecordReply>({ method: 'GET', path: '/v1/records?limit=2' });
      return newest.every(({ spanId }) => spanId === undefined);
    },
    (isOff) => isOff,
  );
});

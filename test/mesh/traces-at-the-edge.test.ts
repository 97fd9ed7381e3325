// Whoever comes from outside names no trace, unless the mesh says so: a gateway begins one, and its spans reach the collector like those of sidecars.
import { expect, test } from 'vitest';
import { startCollector } from '../helpers/collector.ts';
import { ask, portOf, townOfFile } from '../helpers/gateway.ts';
import { startApp } from '../helpers/mesh.ts';
import { eventually } from '../helpers/until.ts';

const town = townOfFile();

const traceId = '0af7651916cd43dd8448eb211c80319c';
const at = '127.0.0.1:0';
const file = `
admin: ${at}
metrics: ${at}
services:
  - service: edge
    listeners:
      - { listen: ${at}, hosts: [shop.example.com] }`;

test('a caller outside begins no trace of its choice and has none sampled; with trustEdge it does', async () => {
  const collector = await startCollector();
  const app = await startApp((request, response) => response.end(String(request.headers.traceparent)));
  await town.sidecar('web', app.port);
  const mesh = (more: string) => `
kind: Mesh
name: mesh
tracing: { otlp: "${collector.url}", sampling: 0${more} }`;
  await town.apply(`
kind: Policy
name: web
to: web
rules: [{ id: edge, effect: allow, from: [edge] }]
---
kind: VirtualService
name: shop
service: web
hosts: [shop.example.com]
http: [{ route: [{ cluster: web }] }]
---${mesh('')}`);
  const gateway = await town.gateway(file, ['edge']);
  const port = portOf(gateway.ready.services[0]!.listeners![0]);
  const call = async (): Promise<string> => {
    const headers = ['host: shop.example.com', `traceparent: 00-${traceId}-b7ad6b7169203331-01`];
    return (await ask(port, ['GET / HTTP/1.1', ...headers])).body;
  };
  const untrusted = await eventually(call, (seen) => /^00-/.test(seen) && !seen.includes(traceId));
  expect(untrusted).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
  await town.apply(mesh(', trustEdge: true'));
  await eventually(call, (seen) => seen.startsWith(`00-${traceId}-`) && seen.endsWith('-01'));
  const spans = await eventually(
    () => collector.spans.filter((span) => span.traceId === traceId),
    (found) => new Set(found.map(({ attributes }) => attributes['service.name'])).size === 2,
  );
  const edge = spans.find(({ attributes }) => attributes['service.name'] === 'edge')!;
  // Its arrival in the mesh: backends draw a request from outside at a span of this kind.
  expect([edge.parentSpanId, edge.kind]).toEqual(['b7ad6b7169203331', 2]);
  expect(spans.some(({ parentSpanId }) => parentSpanId === edge.spanId)).toBe(true);
  expect(collector.problems).toEqual([]);
  expect(new Set(collector.spans.map((span) => span.traceId))).toEqual(new Set([traceId]));
});

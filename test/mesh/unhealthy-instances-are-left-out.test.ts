// The whole way of a health check: the proxy beside an application asks it, the control plane hears, and whoever calls is told at once.
import { request } from 'node:http';
import * as grpc from '@grpc/grpc-js';
import { describe, expect, onTestFinished, test } from 'vitest';
import { parseResources } from '#config/resources';
import type { Sidecar } from '#proxy';
import { type LiveMesh, policyFor, startApp, startLiveMesh } from '../helpers/live-mesh.ts';
import { startRawApp } from '../helpers/mesh.ts';
import { eventually } from '../helpers/until.ts';

function ask(sidecar: Sidecar): Promise<string> {
  return new Promise((resolve, reject) => {
    const call = request(
      `http://${sidecar.addresses.outbound}/`,
      { agent: false, headers: { host: 'payments' } },
      (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => {
          body += text;
        });
        response.on('end', () => resolve(body));
      },
    );
    call.on('error', reject);
    call.end();
  });
}

test('an instance whose application fails its health check gets no calls, and gets them again when it is well', async () => {
  const live = await startLiveMesh();
  const isWell: Record<string, boolean> = { one: true, other: true };
  for (const name of ['one', 'other']) {
    const app = await startApp((asked, response) => {
      if (asked.url === '/healthz') response.statusCode = isWell[name] ? 200 : 500;
      response.end(name);
    });
    await live.sidecar('payments', { app });
  }
  const web = await live.sidecar('web');
  await live.apply(policyFor('payments', ['web']), {
    ...{ kind: 'Cluster', name: 'payments', endpoints: 'enrolled', loadBalancing: { policy: 'round-robin' } },
    healthCheck: { http: { path: '/healthz' }, interval: '100ms', unhealthyThreshold: 2, healthyThreshold: 1 },
  });
  const answers = async (): Promise<string> => {
    const seen = new Set<string>();
    for (let nth = 0; nth < 10; nth++) seen.add(await ask(web));
    return [...seen].sort().join();
  };
  const become = (wanted: string) => eventually(answers, (seen) => seen === wanted, { everyMs: 10 });
  await become('one,other');
  isWell.one = false;
  await become('other');
  for (let round = 0; round < 5; round++) expect(await answers()).toBe('other');
  isWell.one = true;
  await become('one,other');
});

describe('checks of other kinds', () => {
  const bytes = (value: Buffer): Buffer => value;
  const serializers = {
    requestSerialize: bytes,
    requestDeserialize: bytes,
    responseSerialize: bytes,
    responseDeserialize: bytes,
  };
  const check = { path: '/grpc.health.v1.Health/Check', requestStream: false, responseStream: false, ...serializers };

  const healthOf = async (live: LiveMesh): Promise<readonly (string | undefined)[]> =>
    (await live.synced()).proxies.filter(({ service }) => service.endsWith('payments')).map(({ health }) => health);

  test('gRPC: an application that says of itself that it is not serving', async () => {
    const live = await startLiveMesh();
    let answer = Buffer.of(0x08, 1);
    const server = new grpc.Server();
    server.addService({ check } as grpc.ServiceDefinition, {
      check: (_: unknown, reply: grpc.sendUnaryData<Buffer>) => reply(null, answer),
    });
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (fault, bound) =>
        fault ? reject(fault) : resolve(bound),
      ),
    );
    onTestFinished(() => server.forceShutdown());
    await live.sidecar('payments', { app: `h2c://127.0.0.1:${port}` });
    await live.apply(
      ...written(`
kind: Cluster
name: payments
endpoints: enrolled
healthCheck: { grpc: {}, interval: 100ms, unhealthyThreshold: 2, healthyThreshold: 1 }
`),
    );
    await eventually(
      () => healthOf(live),
      ([health]) => health === 'healthy',
    );
    answer = Buffer.of(0x08, 2);
    await eventually(
      () => healthOf(live),
      ([health]) => health === 'unhealthy',
    );
  });

  test('TCP: an application where nobody takes a connection', async () => {
    const live = await startLiveMesh();
    const { server, port } = await startRawApp((socket) => void socket.end());
    await live.sidecar('payments', { app: `tcp://127.0.0.1:${port}` });
    await live.apply(
      ...written(`
kind: Cluster
name: payments
endpoints: enrolled
healthCheck: { tcp: {}, interval: 100ms, unhealthyThreshold: 2 }
`),
    );
    await eventually(
      () => healthOf(live),
      ([health]) => health === 'healthy',
    );
    server.close();
    await eventually(
      () => healthOf(live),
      ([health]) => health === 'unhealthy',
    );
  });
});

/** Resources as an operator writes them. */
const written = (yaml: string): readonly unknown[] => {
  const { resources, problems } = parseResources(yaml, 'mesh.yaml');
  expect(problems).toEqual([]);
  return resources.map(({ resource }) => resource);
};

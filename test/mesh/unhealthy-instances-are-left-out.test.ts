// The whole way of a health check: the proxy beside an application asks it, the control plane hears, and whoever calls is told at once.
import { request } from 'node:http';
import { expect, test } from 'vitest';
import type { Sidecar } from '#proxy';
import { policyFor, startApp, startLiveMesh } from '../helpers/live-mesh.ts';
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

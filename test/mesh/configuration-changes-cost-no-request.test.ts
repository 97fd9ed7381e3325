// A hundred changes of routes and clusters while requests are on their way: each is in force, and nobody who calls notices.
import { Agent, request } from 'node:http';
import { expect, test } from 'vitest';
import type { Sidecar } from '#proxy';
import { policyFor, startApp, startLiveMesh } from '../helpers/live-mesh.ts';
import { eventually } from '../helpers/until.ts';

const changes = 100;
const callers = 6;

interface Answer {
  readonly status: number;
  readonly body: string;
  /** Of the connection that it came by. */
  readonly localPort: number;
}

function ask(sidecar: Sidecar, agent: Agent, path: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = request(
      `http://${sidecar.addresses.outbound}${path}`,
      { agent, headers: { host: 'payments' } },
      (response) => {
        const localPort = response.socket.localPort!;
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => {
          body += text;
        });
        response.on('end', () => resolve({ status: response.statusCode!, body, localPort }));
        response.on('error', reject);
      },
    );
    call.on('error', reject);
    call.end();
  });
}

/** Asks one request after the other on one connection. */
function startCaller(sidecar: Sidecar) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const bodies = new Map<string, number>();
  const ports = new Set<number>();
  const failures: string[] = [];
  let isOver = false;
  const run = async (): Promise<void> => {
    while (!isOver) {
      try {
        const { status, body, localPort } = await ask(sidecar, agent, '/work');
        ports.add(localPort);
        if (status === 200) bodies.set(body, (bodies.get(body) ?? 0) + 1);
        else failures.push(`${status} ${body}`);
      } catch (thrown) {
        failures.push(String(thrown));
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  const done = run();
  return {
    bodies,
    ports,
    failures,
    async stop() {
      isOver = true;
      await done;
      agent.destroy();
    },
  };
}

const balancing = ['round-robin', 'random', 'ewma', 'least-request', 'ring-hash', 'maglev'];

/** What is declared after so many changes; each step changes one more thing. */
function declared(step: number) {
  const at = (part: number): number => Math.floor((step + 7 - part) / 8);
  const weight = 10 + ((at(0) * 20) % 90);
  const extra = at(3) % 2 === 1;
  const cluster = {
    ...{ kind: 'Cluster', name: 'payments', endpoints: 'enrolled' },
    subsets: {
      v1: { labels: { version: 'v1' } },
      v2: { labels: { version: 'v2' } },
      ...(at(1) % 2 === 1 ? { both: { labels: { app: 'payments' } } } : {}),
    },
    loadBalancing: {
      policy: balancing[at(4) % balancing.length],
      ...(at(4) % balancing.length >= 4 ? { hashOn: { source: 'identity' } } : {}),
    },
    circuitBreaker: { maxRequests: 500 + at(5) },
  };
  const outside = {
    ...{ kind: 'Cluster', name: `outside-${at(6)}`, endpoints: { static: ['192.0.2.1:80'] }, plaintext: true },
    ...{ hosts: [`outside-${at(6)}.example`], service: 'outside' },
  };
  const routes = {
    ...{ kind: 'VirtualService', name: 'payments', hosts: ['payments'] },
    http: [
      { match: [{ path: { exact: '/step' } }], directResponse: { status: 200, body: String(step) } },
      ...(extra ? [{ match: [{ path: { prefix: `/extra-${step}` } }], route: [{ cluster: 'payments' }] }] : []),
      {
        route: [
          { cluster: 'payments', subset: 'v1', weight },
          { cluster: 'payments', subset: at(1) % 2 === 1 ? 'both' : 'v2', weight: 100 - weight },
        ],
        timeout: `${20 + at(2)}s`,
        retries: { attempts: 1 + (at(2) % 3) },
      },
    ],
  };
  return [cluster, ...(at(6) > 0 ? [outside] : []), routes];
}

test.each([1, 2])(
  'configuration is changed a hundred times under load of a sidecar with %d threads: each change is in force, no request fails, no connection is dropped',
  async (workers) => {
    const live = await startLiveMesh();
    const answer = (name: string) =>
      startApp((asked, response) => {
        if (asked.url !== '/stream') return void response.end(name);
        const more = setInterval(() => response.write('.'), 20);
        response.on('close', () => clearInterval(more));
      });
    for (const version of ['v1', 'v2'])
      await live.sidecar('payments', { app: await answer(version), labels: { version, app: 'payments' } });
    const web = await live.sidecar('web', { workers });
    await live.apply(policyFor('payments', ['web']), policyFor('outside', ['web']), ...declared(0));
    const agent = new Agent({ keepAlive: true });
    await eventually(
      () => ask(web, agent, '/step'),
      ({ status }) => status === 200,
    );

    const running = Array.from({ length: callers }, () => startCaller(web));
    let streamed = '';
    const stream = request(`http://${web.addresses.outbound}/stream`, { headers: { host: 'payments' } });
    const ended = new Promise<string>((resolve) => {
      stream.on('error', (thrown) => resolve(thrown.message));
      stream.on('response', (response) => {
        response.setEncoding('utf8').on('data', (text: string) => {
          streamed += text;
        });
        response.on('close', () => resolve('closed'));
      });
    });
    stream.end();
    await eventually(
      () => streamed.length,
      (length) => length > 0,
    );

    for (let step = 1; step <= changes; step++) {
      const body = { version: 1, resources: declared(step).map((resource) => ({ resource })) };
      await live.mesh.admin.call({ method: 'POST', path: '/v1/resources', body });
      await eventually(
        () => ask(web, agent, '/step'),
        ({ body }) => body === String(step),
        { everyMs: 5 },
      );
    }
    const before = streamed.length;
    await eventually(
      () => streamed.length,
      (length) => length > before,
    );
    stream.destroy();
    expect(await ended).toBe('closed');
    await Promise.all(running.map((caller) => caller.stop()));
    agent.destroy();

    expect(running.flatMap(({ failures }) => failures)).toEqual([]);
    // Each of them has used the one connection that it began with.
    expect(running.map(({ ports }) => ports.size)).toEqual(running.map(() => 1));
    const answered = (body: string): number => running.reduce((sum, { bodies }) => sum + (bodies.get(body) ?? 0), 0);
    expect(answered('v1')).toBeGreaterThan(50);
    expect(answered('v2')).toBeGreaterThan(50);
  },
  180_000,
);

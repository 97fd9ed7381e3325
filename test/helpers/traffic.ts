// A mesh in this process that is configured as an operator would: policies, clusters and virtual services in YAML, checked like any, for a calling data plane
// and several instances of the services it calls, each with a small application of its own.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { parseResources } from '#config/resources';
import { buildPolicySet, validateResources } from '#policy';
import { buildTraffic } from '#routing';
import { validateTraffic } from '#routing/tools';
import type { Endpoint, ServiceEntry } from '#wire';
import type { AppProtocol } from '../../proxy/app-protocol.ts';
import type { LinkProtocol } from '../../proxy/dial.ts';
import type { Limits } from '../../proxy/limits.ts';
import { call, idOf, startApp, startProxy, startRawApp, type TestApp, type TestProxy } from './mesh.ts';
import { createTestPki, type TestPki } from './pki.ts';

export interface Instance {
  readonly name: string;
  readonly proxy: TestProxy;
  readonly app: TestApp;
  /** Requests that its application has seen. */
  readonly seen: Seen[];
  /** What its application does from now on; it answers its own name until told otherwise. */
  answer: (request: Seen, response: ServerResponse, message: IncomingMessage) => void;
}

export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export type Apps = Readonly<Record<string, () => Promise<{ readonly app: TestApp; readonly protocol: AppProtocol }>>>;

/** Instances of services: what an endpoint says of itself. */
export type Instances = Readonly<Record<string, readonly Partial<Pick<Endpoint, 'labels' | 'zone' | 'weight'>>[]>>;

export interface Traffic {
  readonly web: TestProxy;
  readonly instances: Readonly<Record<string, readonly Instance[]>>;
  /** Puts other resources in force everywhere; throws with every problem. */
  configure(yaml: string): void;
  /** Takes an instance out of discovery, or changes what its endpoint says. */
  endpoint(service: string, at: number, change: Partial<Endpoint> | undefined): void;
  ask(o?: Parameters<typeof call>[1]): ReturnType<typeof call>;
  /** Another caller that was asked for. */
  caller(service: string): TestProxy;
}

/** Everybody may call everybody, for tests that are not about policy. */
export const open = `kind: Policy
name: open
to: "*"
rules: [{ id: all, effect: allow, from: ["*"] }]
---
`;

export async function startTraffic(
  yaml: string,
  given: Instances,
  o: {
    readonly limits?: Partial<Limits>;
    /** Of the called side. */
    readonly instanceLimits?: Partial<Limits>;
    /** Ports of their own at the caller, for TCP when the applications speak that. */
    readonly upstreams?: readonly string[];
    /** Applications that say their name to whoever connects, and then what they hear. */
    readonly isTcp?: boolean;
    /** Applications of another kind, by service. */
    readonly apps?: Apps;
    readonly linkProtocols?: readonly LinkProtocol[];
    /** Of the caller. */
    readonly zone?: string;
    /** Services that call beside `web`. */
    readonly callers?: readonly string[];
  } = {},
): Promise<Traffic> {
  const pki = createTestPki();
  const instances: Record<string, Instance[]> = {};
  const endpoints = new Map<string, (Endpoint | undefined)[]>();
  for (const [service, parts] of Object.entries(given)) {
    const made = await Promise.all(
      parts.map((_, at) =>
        startInstance(pki, `${service}-${at + 1}`, {
          service,
          isTcp: o.isTcp === true,
          limits: o.instanceLimits ?? {},
          apps: o.apps ?? {},
          linkProtocols: o.linkProtocols,
        }),
      ),
    );
    instances[service] = made;
    endpoints.set(
      service,
      made.map(({ name, proxy }, at) => ({
        instance: name,
        address: `127.0.0.1:${proxy.addresses.inbound.port}`,
        labels: {},
        ...parts[at],
      })),
    );
  }
  const web = await startProxy({
    pki,
    service: 'web',
    ...(o.linkProtocols && { linkProtocols: o.linkProtocols }),
    ...(o.limits && { limits: o.limits }),
    ...(o.zone !== undefined && { zone: o.zone }),
    ...(o.upstreams && { upstreams: o.upstreams, upstreamProtocol: o.isTcp ? 'tcp' : 'http' }),
  });
  const others = await Promise.all((o.callers ?? []).map((service) => startProxy({ pki, service })));
  const callers = [web, ...others];
  const known = new Set(Object.keys(given));
  let resources = load(yaml);
  let revision = 1;
  const putInForce = (): void => {
    const policy = buildPolicySet({ resources, trustDomain: 'example.org', revision: ++revision });
    const traffic = buildTraffic({ resources, trustDomain: 'example.org' });
    const services: ServiceEntry[] = [...endpoints].map(([service, list]) => ({
      id: idOf(service),
      hosts: [service.split('/').reverse().join('.')],
      ports: [],
      endpoints: list.filter((one) => one !== undefined),
    }));
    for (const proxy of [...callers, ...Object.values(instances).flatMap((list) => list.map((one) => one.proxy))])
      proxy.apply({ policy, services, ...traffic });
  };
  function load(text: string) {
    const { resources: read, problems } = parseResources(text, 'traffic.yaml');
    problems.push(...validateResources(read));
    if (problems.length === 0) problems.push(...validateTraffic(read, { trustDomain: 'example.org', services: known }));
    if (problems.length > 0)
      throw new Error(problems.map(({ line, message }) => `traffic.yaml:${line} ${message}`).join('\n'));
    return read;
  }
  putInForce();
  return {
    web,
    instances,
    configure(text) {
      resources = load(text);
      putInForce();
    },
    endpoint(service, at, change) {
      const list = endpoints.get(service)!;
      list[at] = change && { ...list[at]!, ...change };
      putInForce();
    },
    ask: (request) => call(web, request),
    caller: (name) => callers.find(({ service }) => service === name)!,
  };
}

async function startInstance(
  pki: TestPki,
  name: string,
  {
    service,
    isTcp,
    limits,
    apps,
    linkProtocols,
  }: {
    readonly service: string;
    readonly isTcp: boolean;
    readonly limits: Partial<Limits>;
    readonly apps: Apps;
    readonly linkProtocols: readonly LinkProtocol[] | undefined;
  },
): Promise<Instance> {
  const seen: Seen[] = [];
  const given = await apps[service]?.();
  const app = given
    ? given.app
    : isTcp
      ? await startRawApp((socket) => {
          socket.write(`${name}\n`);
          socket.pipe(socket);
        })
      : await startApp((message, response) => {
          const pieces: Buffer[] = [];
          message.on('data', (piece: Buffer) => void pieces.push(piece));
          message.on('end', () => {
            const { method = '', url = '', headers } = message;
            const one = { method, url, headers, body: Buffer.concat(pieces).toString() };
            seen.push(one);
            instance.answer(one, response, message);
          });
        });
  const proxy = await startProxy({
    pki,
    service,
    appPort: app.port,
    appProtocol: given?.protocol ?? (isTcp ? 'tcp' : 'http'),
    limits,
    ...(linkProtocols && { linkProtocols }),
  });
  const instance: Instance = { name, proxy, app, seen, answer: (_, response) => void response.end(name) };
  return instance;
}

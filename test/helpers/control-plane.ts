// A real control plane in process on a temporary home, with real clients: an admin, proxies that enrolled with tokens, and raw requests.
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { request as httpsRequest } from 'node:https';
import { onTestFinished } from 'vitest';
import { systemClock } from '#base/clock';
import { silentLog } from '#base/log';
import { initAuthority } from '#ca';
import { type ControlLimits, type Server, startServer } from '#control';
import {
  createCsr,
  type Identity,
  parseBundle,
  parseSpiffeId,
  readIdentity,
  spiffeIdOf,
  type TrustBundle,
  tlsClientPolicy,
  tlsContext,
} from '#spiffe';
import type { BundleReply, EventReply, InstanceFacts, Snapshot, SvidReply, TokenReply, WatchEvent } from '#wire';
import { type Channel, createChannel } from '#wire/channel';
import { createClock, type SettableClock } from './clock.ts';
import { temporaryFolder } from './folder.ts';

export const trustDomain = 'example.org';

export interface Answer {
  readonly status: number;
  readonly body: {
    readonly error?: { readonly code: string; readonly message: string; readonly hint?: string };
  } & Record<string, unknown>;
  readonly headers: Record<string, unknown>;
}

export interface Ask {
  readonly method?: string;
  readonly path: string;
  readonly body?: unknown;
  /** Sent as it is, instead of a body. */
  readonly text?: string | Buffer;
  readonly headers?: Record<string, string>;
  readonly identity?: Identity | undefined;
}

export interface MeshProxy {
  readonly identity: Identity;
  readonly instance: string;
  readonly channel: Channel;
  readonly service: string;
}

export interface Mesh {
  readonly home: string;
  readonly clock: SettableClock;
  readonly adminIdentity: Identity;
  readonly server: Server;
  /** As the admin. */
  readonly admin: Channel;
  bundle(): TrustBundle;
  /** One request on a connection of its own; rejects when the connection is cut. */
  ask(request: Ask): Promise<Answer>;
  token(service: string): Promise<string>;
  /** A proxy with a token of its own. */
  enrol(service: string, facts?: Partial<InstanceFacts>): Promise<MeshProxy>;
  channel(identity: Identity | undefined): Channel;
  events(action: string): Promise<EventReply['events']>;
  /** Stops the server and starts it again on the same home. */
  restart(): Promise<void>;
}

export interface MeshOptions {
  readonly limits?: Partial<ControlLimits>;
  readonly clock?: SettableClock;
  readonly svidTtlMs?: number;
}

export async function createMesh({
  limits = {},
  svidTtlMs,
  clock = createClock(Date.now()),
}: MeshOptions = {}): Promise<Mesh> {
  const home = temporaryFolder();
  const settings = svidTtlMs === undefined ? {} : { svidTtlMs };
  const authority = await initAuthority({ home, trustDomain, clock, settings });
  const adminIdentity = authority.issueLocal({
    id: spiffeIdOf({ trustDomain, service: 'postern/admin/ada' }),
    ttlMs: 3_600_000,
    instance: 'ada',
  });
  let bundle = authority.bundle();
  authority.close();
  const start = () => startServer({ home, listen: '127.0.0.1:0', limits }, { clock, log: silentLog });
  let server = await start();
  onTestFinished(() => server.close());

  const channel = (identity: Identity | undefined): Channel => {
    const made = createChannel({ url: server.url, identity: () => identity, bundle: () => bundle, clock: systemClock });
    onTestFinished(() => made.close());
    return made;
  };
  const asAdmin: Channel = {
    call: (request) => current().call(request),
    stream: (request) => current().stream(request),
    close: () => undefined,
  };
  let kept: { readonly url: string; readonly channel: Channel } | undefined;
  const current = (): Channel => {
    if (kept?.url !== server.url) kept = { url: server.url, channel: channel(adminIdentity) };
    return kept.channel;
  };
  const mesh: Mesh = {
    home,
    clock,
    adminIdentity,
    admin: asAdmin,
    get server() {
      return server;
    },
    bundle: () => bundle,
    ask: (request) => askOnce({ url: server.url, bundle, ...request }),
    async token(service) {
      const { token } = await asAdmin.call<TokenReply>({
        method: 'POST',
        path: '/v1/tokens',
        body: { version: 1, service },
      });
      return token;
    },
    async enrol(service, facts = {}) {
      const token = await mesh.token(service);
      const key = newKey();
      const { body } = await mesh.ask(enrolment({ token, key, facts }));
      const reply = body as unknown as SvidReply;
      const identity = identityOf(reply, key);
      return { identity, instance: reply.instance, channel: channel(identity), service: reply.id };
    },
    channel,
    events: async (action) =>
      (await asAdmin.call<EventReply>({ method: 'GET', path: `/v1/events?action=${action}&limit=10000` })).events,
    async restart() {
      await server.close();
      server = await start();
      const { body } = await mesh.ask({ path: '/v1/bundle' });
      bundle = parseBundle(trustDomain, (body as unknown as BundleReply).bundle);
    },
  };
  return mesh;
}

export function newKey(): { privateKey: KeyObject; publicKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

export const someFacts: InstanceFacts = { advertise: '127.0.0.1:15008', appPort: 8080, labels: {}, version: '0.1.0' };

/** The request of an enrolment. */
export function enrolment(o: {
  readonly token: string;
  readonly key: { privateKey: KeyObject; publicKey: KeyObject };
  readonly facts?: Partial<InstanceFacts>;
}): Ask {
  return {
    method: 'POST',
    path: '/v1/enrol',
    headers: { authorization: `Bearer ${o.token}` },
    body: {
      version: 1,
      csr: Buffer.from(createCsr(o.key)).toString('base64'),
      facts: { ...someFacts, ...o.facts },
    },
  };
}

export function identityOf(reply: SvidReply, key: { readonly privateKey: KeyObject }): Identity {
  return readIdentity({ key: key.privateKey, chain: reply.chain.map((text) => Buffer.from(text, 'base64')) });
}

export function askOnce(o: Ask & { readonly url: string; readonly bundle: TrustBundle }): Promise<Answer> {
  const { url, bundle, identity, method = 'GET', path, headers = {} } = o;
  const text = o.text ?? (o.body === undefined ? undefined : JSON.stringify(o.body));
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const request = httpsRequest(
      {
        ...{ hostname, port, path, method, agent: false },
        ...(identity ? tlsContext({ identity, bundle }) : {}),
        ...tlsClientPolicy({ bundle, now: Date.now, expect: parseSpiffeId(`spiffe://${trustDomain}/postern/server`) }),
        headers: {
          ...(text === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
          ...headers,
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const read = Buffer.concat(chunks).toString();
          let body: Answer['body'];
          try {
            body = read === '' ? {} : JSON.parse(read);
          } catch {
            body = { text: read };
          }
          resolve({ status: response.statusCode ?? 0, body, headers: response.headers });
        });
      },
    );
    request.on('error', reject);
    request.end(text);
  });
}

/** A stream of watch events that a test takes one by one; pings are passed over. */
export function watch(proxy: Pick<MeshProxy, 'channel'>, revision = 0, changes = false) {
  const stop = new AbortController();
  onTestFinished(() => stop.abort());
  const events = proxy.channel
    .stream({
      method: 'POST',
      path: '/v1/proxy/watch',
      body: { version: 1, revision, ...(changes && { changes }) },
      signal: stop.signal,
    })
    [Symbol.asyncIterator]();
  return {
    stop: () => stop.abort(),
    /** The next event that is not a ping; `undefined` at the end of the stream. */
    async next(): Promise<WatchEvent | undefined> {
      for (;;) {
        const { done, value } = await events.next();
        if (done) return undefined;
        if ((value as WatchEvent).type !== 'ping') return value as WatchEvent;
      }
    },
    /** The next event, which must be a snapshot. */
    async snapshot(): Promise<Snapshot> {
      const event = await this.next();
      if (event?.type !== 'snapshot') throw new Error(`expected a snapshot, got ${JSON.stringify(event)}`);
      return event.snapshot;
    },
  };
}

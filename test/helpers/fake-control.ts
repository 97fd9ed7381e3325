// A small control plane for tests of the sidecar's agent: its own CA (made with @peculiar/x509, so not with the code under test) and a real
// HTTPS server whose answers a test can script.
import 'reflect-metadata';
import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server, type ServerOptions } from 'node:https';
import type { AddressInfo } from 'node:net';
import * as x509 from '@peculiar/x509';
import { onTestFinished } from 'vitest';
import { formatBundle, type Identity, readIdentity, type TrustBundle, tlsContext, tlsServerPolicy } from '#spiffe';
import type { Snapshot } from '#wire';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

export interface TestCa {
  readonly trustDomain: string;
  readonly bundle: TrustBundle;
  /** The bundle as the wire carries it. */
  readonly bundleText: string;
  /** An identity, its key made here unless one is given; valid from 30 s before `now` for `ttlMs`. */
  issue(o: {
    service: string;
    now?: number;
    ttlMs?: number;
    notBefore?: number;
    key?: KeyObject;
    publicKey?: KeyObject;
  }): Promise<Identity & { readonly key: KeyObject }>;
  /** The chain for somebody else's public key. */
  certify(o: { service: string; publicKey: KeyObject; notBefore: number; notAfter: number }): Promise<Uint8Array[]>;
  /** A join token as the control plane makes them; its signature is worth nothing. */
  token(o: { service: string; url: string; exp?: number; claims?: Record<string, unknown> }): string;
}

export async function createTestCa(trustDomain = 'example.org', now = Date.now()): Promise<TestCa> {
  const year = 365 * 86_400_000;
  const [rootKeys, issuingKeys] = [await makeKeys(), await makeKeys()];
  const life = { notBefore: new Date(now - year), notAfter: new Date(now + year) };
  const signer = [
    new x509.BasicConstraintsExtension(true, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
  ];
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: randomBytes(8).toString('hex').replace(/^./, '1'),
    name: `CN=root of ${trustDomain} ${randomBytes(4).toString('hex')}`,
    ...life,
    keys: rootKeys,
    signingAlgorithm: algorithm,
    extensions: signer,
  });
  const issuing = await x509.X509CertificateGenerator.create({
    serialNumber: randomBytes(8).toString('hex').replace(/^./, '1'),
    subject: `CN=issuing of ${trustDomain} ${randomBytes(4).toString('hex')}`,
    issuer: root.subject,
    ...life,
    publicKey: issuingKeys.publicKey,
    signingKey: rootKeys.privateKey,
    signingAlgorithm: algorithm,
    extensions: signer,
  });
  const bundle = { trustDomain, roots: [Buffer.from(root.rawData)], sequence: 1n, refreshHint: 300 };

  const certify: TestCa['certify'] = async ({ service, publicKey, notBefore, notAfter }) => {
    const leaf = await x509.X509CertificateGenerator.create({
      serialNumber: randomBytes(8).toString('hex').replace(/^./, '1'),
      subject: 'O=test',
      issuer: issuing.subject,
      notBefore: new Date(notBefore),
      notAfter: new Date(notAfter),
      publicKey: publicKey.toCryptoKey(algorithm, true, ['verify']) as unknown as x509.PublicKeyType,
      signingKey: issuingKeys.privateKey,
      signingAlgorithm: algorithm,
      extensions: [
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']),
        new x509.SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://${trustDomain}/${service}` }], false),
      ],
    });
    return [Buffer.from(leaf.rawData), Buffer.from(issuing.rawData)];
  };

  return {
    trustDomain,
    bundle,
    bundleText: formatBundle(bundle),
    certify,
    async issue({ service, now: at = now, ttlMs = 3_600_000, notBefore = at - 30_000, ...given }) {
      const pair = given.key
        ? { privateKey: given.key, publicKey: createPublicKey(given.key) }
        : generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const chain = await certify({ service, publicKey: pair.publicKey, notBefore, notAfter: notBefore + ttlMs });
      return readIdentity({ key: pair.privateKey, chain });
    },
    token({ service, url, exp = Math.floor(now / 1_000) + 600, claims = {} }) {
      const body = {
        iss: `spiffe://${trustDomain}`,
        aud: 'postern-enrol',
        sub: `spiffe://${trustDomain}/${service}`,
        jti: randomBytes(16).toString('base64url'),
        iat: Math.floor(now / 1_000),
        exp,
        url,
        roots: bundle.roots.map((root) => root.toString('base64')),
        ...claims,
      };
      return [{ alg: 'ES256', typ: 'postern-join+jwt' }, body]
        .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
        .concat(randomBytes(64).toString('base64url'))
        .join('.');
    },
  };
}

async function makeKeys(): Promise<CryptoKeyPair> {
  return (await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as CryptoKeyPair;
}
type CryptoKeyPair = Parameters<typeof x509.X509CertificateGenerator.createSelfSigned>[0]['keys'];

export type Handler = (request: IncomingMessage, response: ServerResponse, body: unknown) => void;

export interface TestServer {
  readonly url: string;
  readonly port: number;
  readonly server: Server;
  /** Connections accepted so far, handshake done or not. */
  readonly connections: number;
  close(): Promise<void>;
}

/** A TLS 1.3 server with this identity; client certificates are required (and verified) only when `mutual`. */
export async function startTestServer(o: {
  identity: Identity;
  bundle: TrustBundle;
  handler: Handler;
  mutual?: boolean;
  tls?: ServerOptions;
  port?: number;
}): Promise<TestServer> {
  const { handshakeTimeout } = tlsServerPolicy;
  const policy = o.mutual ? tlsServerPolicy : { minVersion: 'TLSv1.3' as const, handshakeTimeout };
  const server = createServer({ ...tlsContext(o), ...policy, ...o.tls }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString('utf8');
      o.handler(request, response, text === '' ? undefined : JSON.parse(text));
    });
  });
  let connections = 0;
  server.on('connection', () => connections++);
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => server.listen(o.port ?? 0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  onTestFinished(close);
  return {
    url: `https://127.0.0.1:${port}`,
    port,
    server,
    get connections() {
      return connections;
    },
    close,
  };
}

export function reply(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** The smallest valid snapshot for a service. */
export function snapshotFor(ca: TestCa, service: string, more: Partial<Snapshot> = {}): Snapshot {
  return {
    version: 1,
    revision: 1,
    service: `spiffe://${ca.trustDomain}/${service}`,
    bundle: ca.bundleText,
    bans: { ids: [], serials: [] },
    policy: { revision: 1, rules: [], groups: {} },
    services: [],
    ...more,
  };
}

/** The public key of a PKCS#10 request. */
export function keyOfCsr(base64: string): KeyObject {
  const request = new x509.Pkcs10CertificateRequest(Buffer.from(base64, 'base64'));
  return createPublicKey({ key: Buffer.from(request.publicKey.rawData), format: 'der', type: 'spki' });
}

export interface FakeControl extends TestServer {
  /** Everything asked, oldest first. */
  readonly asked: { readonly path: string; readonly body: Record<string, unknown>; readonly token?: string }[];
  /** Sends one event to every open watch stream. */
  push(event: unknown): void;
  readonly watchers: Set<ServerResponse>;
  /** Answers a path instead of the usual handler; `undefined` goes back to it. */
  override: Map<string, Handler>;
  /** How long new certificates live. */
  ttlMs: number;
  /** Resolves when a request that satisfies this has been (or is) received. */
  saw(test: (one: { path: string; body: Record<string, unknown> }) => boolean): Promise<Record<string, unknown>>;
}

/** Enrols, renews, streams and receives, for one service; nothing is verified here. */
export async function startFakeControl(o: {
  ca: TestCa;
  service: string;
  now?: () => number;
  ttlMs?: number;
  /** How long before they are issued certificates begin to hold. */
  backdateMs?: number;
  port?: number;
  snapshot?: () => Snapshot | undefined;
}): Promise<FakeControl> {
  const { ca, service, now = () => Date.now(), backdateMs = 1_000 } = o;
  const asked: FakeControl['asked'] = [];
  const watchers = new Set<ServerResponse>();
  const override = new Map<string, Handler>();
  const waiting = new Set<() => void>();
  const identity = await ca.issue({ service: 'postern/server', now: now(), ttlMs: 86_400_000 * 300 });
  const issue = async (body: Record<string, unknown>, response: ServerResponse): Promise<void> => {
    const notBefore = Math.floor(now() / 1_000) * 1_000 - backdateMs;
    const notAfter = notBefore + backdateMs + control.ttlMs;
    const key = keyOfCsr(body.csr as string);
    const chain = await ca.certify({ service, publicKey: key, notBefore, notAfter });
    reply(response, 200, {
      version: 1,
      id: `spiffe://${ca.trustDomain}/${service}`,
      instance: 'instance-1',
      chain: chain.map((der) => Buffer.from(der).toString('base64')),
      notBefore,
      notAfter,
      bundle: ca.bundleText,
    });
  };
  const handler: Handler = (request, response, value) => {
    const path = request.url ?? '';
    const body = (value ?? {}) as Record<string, unknown>;
    const token = request.headers.authorization?.replace('Bearer ', '');
    asked.push({ path, body, ...(token && { token }) });
    for (const look of waiting) look();
    const special = override.get(path);
    if (special) return special(request, response, value);
    if (path === '/v1/enrol' || path === '/v1/renew') return void issue(body, response);
    if (path === '/v1/proxy/report') return reply(response, 200, {});
    if (path === '/v1/proxy/records') {
      const records = body.records as { seq: number }[];
      return reply(response, 200, { through: records.at(-1)!.seq });
    }
    if (path !== '/v1/proxy/watch') return reply(response, 404, { error: { code: 'NOT_FOUND', message: 'no' } });
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    watchers.add(response);
    response.on('close', () => watchers.delete(response));
    const snapshot = o.snapshot ? o.snapshot() : snapshotFor(ca, service);
    response.write(`${JSON.stringify(snapshot ? { type: 'snapshot', snapshot } : { type: 'ping' })}\n`);
  };
  const server = await startTestServer({
    identity,
    bundle: ca.bundle,
    handler,
    ...(o.port === undefined ? {} : { port: o.port }),
  });
  const control: FakeControl = Object.assign(Object.create(server), {
    asked,
    watchers,
    override,
    ttlMs: o.ttlMs ?? 3_600_000,
    push(event: unknown) {
      for (const response of watchers) response.write(`${JSON.stringify(event)}\n`);
    },
    saw(test: (one: { path: string; body: Record<string, unknown> }) => boolean) {
      return new Promise<Record<string, unknown>>((resolve) => {
        const look = (): void => {
          const found = asked.find(test);
          if (!found) return;
          waiting.delete(look);
          resolve(found.body);
        };
        waiting.add(look);
        look();
      });
    },
  });
  return control;
}

/** Resolves when `test` holds; looked at each few milliseconds, for states that announce themselves to nobody. */
export async function until(test: () => boolean, ms = 25_000): Promise<void> {
  const end = performance.now() + ms;
  while (!test()) {
    if (performance.now() > end) throw new Error(`still not so after ${ms} ms: ${test}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

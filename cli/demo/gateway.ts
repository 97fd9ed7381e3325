// The chapter of the demo about gateways: one process in front of instances that have no sidecar, and at the edge for callers that have no identity but a token.
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '#base/clock';
import { parseHostPort } from '#base/host-port';
import { type Caller, createCaller } from './client.ts';
import type { Stage } from './stage.ts';
import { apply, until } from './steps.ts';

const issuer = 'https://id.demo.test';
const shop = 'http://shop.demo.test/checkout';

const resources = (key: unknown): string => `kind: Policy
name: stock-access
to: stock
rules:
  - { id: orders-look, effect: allow, from: [orders], methods: [GET] }
---
kind: Policy
name: shop-access
to: orders
rules:
  - id: customers
    effect: allow
    from: [edge]
    methods: [GET]
    paths: [/checkout]
    when: [{ key: "jwt:claims.role", in: [customer] }]
---
kind: JwtIssuer
name: accounts
issuer: ${issuer}
audiences: [shop]
jwks: ${JSON.stringify({ keys: [key] })}
---
kind: VirtualService
name: shop
service: orders
hosts: [shop.demo.test]
http:
  - route: [{ cluster: orders }]
`;
const configuration = (group: readonly string[]): string => `admin: 127.0.0.1:0
metrics: 127.0.0.1:0
services:
  - service: stock
    inbound: 127.0.0.1:0
    app: { static: [${group.join(', ')}] }
  - service: edge
    listeners:
      - { listen: 127.0.0.1:0, hosts: [shop.demo.test] }
`;

interface Ready {
  readonly services: readonly { readonly service: string; readonly listeners?: readonly string[] }[];
}

export async function openGateway(stage: Stage, { folder, orders }: { folder: string; orders: Caller }): Promise<void> {
  stage.chapter('A gateway serves instances without sidecars, and opens the mesh to users');
  const group = [await stage.startApp('stock-1'), await stage.startApp('stock-2')];
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  await apply(stage, folder, 'gateway-policies', resources({ ...publicKey.export({ format: 'jwk' }), kid: 'demo' }));
  const file = join(folder, 'gateway.yaml');
  writeFileSync(file, configuration(group.map(({ address }) => address)));
  const tokens: string[] = [];
  for (const service of ['stock', 'edge']) {
    const made = await stage.postern('token', 'create', service, '-o', 'json');
    tokens.push('--token', (JSON.parse(made) as { token: string }).token);
  }
  const { ready } = await stage.start<Ready>('gateway', '--home', join(folder, 'gateway'), '--config', file, ...tokens);

  const looks = new Set<string>();
  await until(
    async () => {
      const { status, body } = await orders.call('GET', 'http://stock/items');
      if (status === 200) looks.add((JSON.parse(body) as { app: string }).app);
      return looks.size;
    },
    (size) => size === 2,
  );
  stage.claim('orders reaches both instances of stock, neither of which has a sidecar', looks.size === 2);

  const edge = createCaller(
    parseHostPort(ready.services.find(({ service }) => service.endsWith('/edge'))!.listeners![0]!)!,
  );
  try {
    const bearer = (role: string): string => `Bearer ${tokenFor(role, privateKey)}`;
    const customer = await until(
      () => edge.call('GET', shop, { authorization: bearer('customer') }),
      ({ status }) => status === 200,
    );
    stage.show('a user whose token says customer checks out', customer);
    stage.claim('the mesh lets the customer in', customer.status === 200 && customer.body.includes('"charged":true'));
    const visitor = await edge.call('GET', shop, { authorization: bearer('visitor') });
    stage.claim('another role is denied', visitor.status === 403);
    const nobody = await edge.call('GET', shop);
    stage.claim('a user without a token is asked for one', nobody.status === 401);
    const forged = await edge.call('GET', shop, { authorization: `${bearer('customer').slice(0, -8)}AAAAAAAA` });
    stage.claim('and so is one whose token nobody has signed', forged.status === 401);
    const other = await edge.call('GET', 'http://payments/charges/7', { authorization: bearer('customer') });
    stage.claim('hosts that the edge does not name lead nowhere', other.status >= 400);
  } finally {
    edge.close();
  }
}

/** A token as an identity provider would sign it (RFC 7519, RFC 8037). */
function tokenFor(role: string, key: KeyObject): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(systemClock.now() / 1_000) + 300;
  const text = `${part({ alg: 'EdDSA', kid: 'demo', typ: 'JWT' })}.${part({ iss: issuer, aud: 'shop', sub: 'ada', role, exp })}`;
  return `${text}.${sign(null, Buffer.from(text), key).toString('base64url')}`;
}

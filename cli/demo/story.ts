// The demo's story: one mesh from nothing to an audited denial, each step a real command against real processes, each claim checked.

import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { parseHostPort } from '#base/host-port';
import { type Caller, createCaller } from './client.ts';
import { openGateway } from './gateway.ts';
import type { Stage } from './stage.ts';
import { apply, joinMesh, until } from './steps.ts';
import { shiftTraffic } from './traffic.ts';

const services = ['web', 'orders', 'payments'] as const;
type Service = (typeof services)[number];

const firstPolicies = `kind: Policy
name: orders-access
to: orders
rules:
  - { id: web-checks-out, effect: allow, from: [web], methods: [GET], paths: [/checkout] }
---
kind: Policy
name: payments-access
to: payments
rules:
  - { id: orders-charge, effect: allow, from: [orders], methods: [POST], paths: [/charges] }
  - { id: orders-read, effect: allow, from: [orders], methods: [GET], paths: [/feed, "/charges/**"] }
`;
const stricterPolicies = firstPolicies.replace(
  '  - { id: orders-read',
  '  - { id: no-refunds, effect: deny, from: ["*"], paths: ["/charges/{id}/refund"] }\n  - { id: orders-read',
);

/** What stays running when the demo is told to stay. */
export interface Cast {
  readonly home: string;
  readonly outbound: Readonly<Record<Service, string>>;
}

/** Tells the whole story in `folder`; every claim is checked on the stage. */
export async function tellStory(stage: Stage, folder: string): Promise<Cast> {
  const home = join(folder, 'control-plane');
  stage.home(home);

  stage.chapter('A certificate authority and a control plane');
  await stage.postern('ca', 'init', '--trust-domain', 'demo.test');
  await stage.start('server', '--home', home, '--listen', '127.0.0.1:0');

  stage.chapter('Three services join, each with a token of its own');
  const outbound = {} as Record<Service, string>;
  for (const name of services)
    outbound[name] = (await joinMesh(stage, folder, { service: name, version: 'v1' })).outbound;
  const identities = await stage.postern('identity', 'list');
  for (const name of services) {
    stage.claim(`${name} holds spiffe://demo.test/${name}`, identities.includes(`spiffe://demo.test/${name}`));
  }

  const orders = createCaller(parseHostPort(outbound.orders)!);
  const web = createCaller(parseHostPort(outbound.web)!);
  try {
    await allowAndDeny(stage, { folder, web });
    await changeOnLiveConnection(stage, { folder, orders });
    await rotateUnderLoad(stage, { web });
    await banCutsConnection(stage, { orders });
    await shiftTraffic(stage, { folder, orders });
    await openGateway(stage, { folder, orders });
    await readTheLog(stage);
  } finally {
    orders.close();
    web.close();
  }
  return { home, outbound };
}

async function allowAndDeny(stage: Stage, { folder, web }: { folder: string; web: Caller }): Promise<void> {
  stage.chapter('Nothing is allowed until a policy says so');
  const before = await web.call('GET', 'http://orders/checkout');
  stage.show('web calls orders', before);
  stage.claim('without a policy the call is denied', before.status === 403);

  await apply(stage, folder, 'policies', firstPolicies);
  const allowed = await until(
    () => web.call('GET', 'http://orders/checkout'),
    ({ status }) => status === 200,
  );
  stage.show('web calls orders, which charges payments', allowed);
  stage.claim(
    'the call passes four sidecar hops, each with mTLS and a decision',
    allowed.status === 200 && allowed.body.includes('"charged":true'),
  );

  stage.chapter('A call that no rule allows is denied, and says why');
  const denied = await web.call('POST', 'http://payments/charges');
  stage.show('web calls payments directly', denied);
  stage.claim(
    '403, with a decision id and the reason',
    denied.status === 403 && denied.headers['x-postern-decision'] !== undefined,
  );
  const why = await stage.postern('policy', 'why', 'web', 'payments', 'POST', '/charges');
  stage.claim('policy why explains it', why.includes('deny') || why.includes('denied'));
}

async function changeOnLiveConnection(
  stage: Stage,
  { folder, orders }: { folder: string; orders: Caller },
): Promise<void> {
  stage.chapter('A changed policy reaches connections that are already open');
  const path = 'http://payments/charges/7/refund';
  const before = await orders.call('GET', path);
  stage.show('orders asks for a refund', before);
  await apply(stage, folder, 'policies', stricterPolicies);
  const begun = performance.now();
  const after = await until(
    () => orders.call('GET', path),
    ({ status }) => status === 403,
  );
  stage.show('the same call again', after);
  stage.claim(
    'allowed before, denied after, on one connection',
    before.status === 200 && after.status === 403 && before.connection === after.connection,
  );
  stage.claim(
    `enforced within ${Math.ceil(performance.now() - begun)} ms of the command's return`,
    performance.now() - begun < 1_000,
  );
}

async function rotateUnderLoad(stage: Stage, { web }: { web: Caller }): Promise<void> {
  stage.chapter('The issuing CA rotates while requests flow');
  let sent = 0;
  let failed = 0;
  let flowing = true;
  const flow = (async () => {
    while (flowing) {
      const { status } = await web.call('GET', 'http://orders/checkout').catch(() => ({ status: 0 }));
      sent++;
      if (status !== 200) failed++;
      await wait(10);
    }
  })();
  const issuerBefore = await stage.quietly('ca', 'status', '-o', 'json');
  await stage.postern('ca', 'rotate');
  await wait(1_500);
  flowing = false;
  await flow;
  const issuerAfter = await stage.quietly('ca', 'status', '-o', 'json');
  stage.claim('a new issuing CA signs', issuerBefore !== issuerAfter);
  stage.claim(`${sent} requests meanwhile, ${failed} failed`, sent > 20 && failed === 0);
}

async function banCutsConnection(stage: Stage, { orders }: { orders: Caller }): Promise<void> {
  stage.chapter('A banned identity is cut off at once');
  const feed = await orders.follow('http://payments/feed');
  await until(
    async () => feed.lines(),
    (lines) => lines > 3,
  );
  stage.note(`orders is reading an endless response from payments (${feed.lines()} lines so far)`);
  const begun = performance.now();
  await stage.postern('identity', 'ban', 'orders', '--reason', 'demo');
  const cut = await Promise.race([feed.ended.then(() => true), wait(5_000, false)]);
  stage.claim(
    `the live connection was cut ${Math.ceil(performance.now() - begun)} ms after the command began`,
    feed.status === 200 && cut,
  );
  const { status } = await orders.call('POST', 'http://payments/charges').catch(() => ({ status: 0 }));
  stage.claim('and no new call gets through', status !== 200);
  await stage.postern('identity', 'unban', 'orders');
  const back = await until(
    () => orders.call('POST', 'http://payments/charges').catch(() => ({ status: 0 })),
    ({ status }) => status === 200,
  );
  stage.claim('unbanned, it may call again', back.status === 200);
}

async function readTheLog(stage: Stage): Promise<void> {
  stage.chapter('Every decision was recorded');
  const deny = await until(
    () => stage.quietly('audit', 'query', '--decision', 'deny', '-o', 'json'),
    (text) => text.includes('no-refunds'),
  );
  stage.claim(
    'the denials are in the log with their rules',
    deny.includes('payments-access/no-refunds') && deny.includes('default-deny'),
  );
  await stage.postern('audit', 'query', '--decision', 'deny', '--limit', '6');
  const events = await stage.postern('audit', 'query', '--events', '--limit', '40');
  for (const action of ['enrol', 'apply', 'rotate', 'ban'])
    stage.claim(`so is every ${action}`, events.includes(action));
  await stage.postern('status');
}

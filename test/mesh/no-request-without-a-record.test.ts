// In mode `block` a request that could not be recorded is not served: refused before policy and before the application hears of it.

import { expect, test } from 'vitest';
import { auditErrors } from '#audit';
import { defineErrors } from '#base/error';
import { call, idOf, startApp, startPair, startProxy } from '../helpers/mesh.ts';

test('L4: a proxy that must record and cannot refuses with AUDIT_BLOCKED, and serves again once it can', async () => {
  const fail = defineErrors(auditErrors);
  let isBroken = true;
  let served = 0;
  const app = await startApp((_, response) => {
    served++;
    response.end('ok');
  });
  const { pki, payments } = await startPair({ app });
  const web = await startProxy({
    ...{ pki, service: 'web' },
    assertRecording: () => {
      if (isBroken) throw fail('AUDIT_BLOCKED', { reason: 'the disk is full', folder: '/f' });
    },
  });
  web.apply({ services: [{ ...entryOf(payments.addresses.inbound.port) }], policy: policyOf() });
  const refused = await call(web, { path: '/charges' });
  expect(refused.status).toBe(503);
  expect(refused.body).toContain('AUDIT_BLOCKED');
  expect(served).toBe(0);
  expect(await web.recorded(1)).toMatchObject([{ decision: 'error', reason: 'AUDIT_BLOCKED' }]);
  isBroken = false;
  expect((await call(web, { path: '/charges' })).status).toBe(200);
  expect(served).toBe(1);
});

const entryOf = (port: number) => ({
  ...{ id: idOf('payments'), hosts: ['payments'], ports: [] },
  endpoints: [{ instance: 'payments-0', address: `127.0.0.1:${port}`, labels: {} }],
});
const policyOf = () => ({
  revision: 2,
  groups: {},
  rules: [
    {
      ...{ policy: 'test', id: 'web-payments', effect: 'allow' as const, shadow: false },
      ...{ to: [idOf('payments')], from: [idOf('web')] },
    },
  ],
});

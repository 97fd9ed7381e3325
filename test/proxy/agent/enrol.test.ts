// The first identity: asked for with a key made here, checked before it is stored, and safe to ask for again.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { systemClock } from '#base/clock';
import { silentLog } from '#base/log';
import { openSidecarFolder } from '../../../proxy/agent/disk.ts';
import { type EnrolOptions, obtainIdentity } from '../../../proxy/agent/enrol.ts';
import {
  createTestCa,
  type FakeControl,
  keyOfCsr,
  reply,
  startFakeControl,
  type TestCa,
} from '../../helpers/fake-control.ts';
import { temporaryFolder } from '../../helpers/folder.ts';

const facts = { advertise: '127.0.0.1:15008', labels: {}, version: '0.1.0' };

const obtain = (home: string, token?: string, more: Partial<EnrolOptions> = {}) =>
  obtainIdentity({
    folder: openSidecarFolder(home),
    token,
    facts,
    clock: systemClock,
    log: silentLog,
    random: () => 0,
    ...more,
  });

const codeOf = (work: Promise<unknown>): Promise<{ code?: string; message: string; hint?: string }> =>
  work.then(
    () => ({ message: 'it did not fail' }),
    (thrown) => thrown as { code?: string; message: string; hint?: string },
  );

async function mesh(): Promise<{ ca: TestCa; control: FakeControl; home: string; token: string }> {
  const ca = await createTestCa();
  const control = await startFakeControl({ ca, service: 'shop/payments' });
  return { ca, control, home: temporaryFolder(), token: ca.token({ service: 'shop/payments', url: control.url }) };
}

test('a token gives an identity that is kept: the next start asks nobody', async () => {
  const { control, home, token } = await mesh();
  const first = await obtain(home, token);
  expect(first.identity.id.uri).toBe('spiffe://example.org/shop/payments');
  expect(control.asked).toMatchObject([{ path: '/v1/enrol', token, body: { version: 1, facts } }]);
  const again = await obtain(home);
  expect([again.identity.serial, again.instance]).toEqual([first.identity.serial, 'instance-1']);
  expect(control.asked).toHaveLength(1);
});

test('a repeated token for the same service is not used; one for another service is refused by name', async () => {
  const { ca, control, home, token } = await mesh();
  const { identity } = await obtain(home, token);
  expect((await obtain(home, token)).identity.serial).toBe(identity.serial);
  expect((await obtain(home, 'not a token')).identity.serial).toBe(identity.serial);
  const other = ca.token({ service: 'shop/billing', url: control.url });
  expect(await codeOf(obtain(home, other))).toMatchObject({
    code: 'SIDECAR_TOKEN_FOREIGN',
    message: expect.stringContaining('spiffe://example.org/shop/payments'),
  });
  expect(control.asked).toHaveLength(1);
});

test('a token of another mesh of the same name is refused rather than ignored', async () => {
  const { control, home, token } = await mesh();
  await obtain(home, token);
  const stranger = await createTestCa();
  const foreign = stranger.token({ service: 'shop/payments', url: control.url });
  expect((await codeOf(obtain(home, foreign))).code).toBe('SIDECAR_TOKEN_OTHER_MESH');
});

test('without identity or token, and with an expired identity, the fix is told', async () => {
  const { control, home, token } = await mesh();
  expect(await codeOf(obtain(home))).toMatchObject({
    code: 'SIDECAR_TOKEN_MISSING',
    hint: expect.stringContaining('postern token create'),
  });
  await obtain(home, token);
  const later = { ...systemClock, now: () => Date.now() + 7_200_000 };
  expect(await codeOf(obtain(home, undefined, { clock: later }))).toMatchObject({
    code: 'SIDECAR_IDENTITY_EXPIRED',
    hint: 'run: postern token create shop/payments, then start again with --token',
  });
  expect((await codeOf(obtain(home, token, { clock: later }))).code).toBe('SIDECAR_TOKEN_EXPIRED');
  expect(control.asked).toHaveLength(1);
});

test('an expired identity is replaced when a fresh token is given', async () => {
  const [ca, home] = [await createTestCa(), temporaryFolder()];
  const offset = { ms: -7_200_000 };
  const now = () => Date.now() + offset.ms;
  const clock = { ...systemClock, now };
  const control = await startFakeControl({ ca, service: 'shop/payments', now, ttlMs: 60_000 });
  const token = () => ca.token({ service: 'shop/payments', url: control.url });
  const first = await obtain(home, token(), { clock });
  offset.ms = 0;
  const next = await obtain(home, token(), { clock });
  expect(next.identity.serial).not.toBe(first.identity.serial);
  expect((await obtain(home, undefined, { clock })).identity.serial).toBe(next.identity.serial);
});

describe('C3: a reply lost on the way', () => {
  test('is asked for again with the same key, in the same process', async () => {
    const { control, home, token } = await mesh();
    control.override.set('/v1/enrol', (request) => {
      control.override.delete('/v1/enrol');
      request.socket.destroy();
    });
    await obtain(home, token);
    const keys = control.asked.map(({ body }) => keyOfCsr(body.csr as string).export({ format: 'jwk' }).x);
    expect(keys).toHaveLength(2);
    expect(keys[1]).toBe(keys[0]);
  });

  test('and by the next process', async () => {
    const { control, home, token } = await mesh();
    const kill = new Error('killed');
    control.override.set('/v1/enrol', (request) => request.socket.destroy());
    const crash = {
      ...systemClock,
      after: () => {
        throw kill;
      },
    };
    expect(await codeOf(obtain(home, token, { clock: crash }))).toBeDefined();
    await codeOf(
      obtain(home, token, {
        random: () => {
          throw kill;
        },
      }),
    );
    expect(readdirSync(join(home, 'sidecar'))).toEqual([expect.stringMatching(/^next-.*\.pem$/)]);
    control.override.delete('/v1/enrol');
    await obtain(home, token);
    const keys = control.asked.map(({ body }) => keyOfCsr(body.csr as string).export({ format: 'jwk' }).x);
    expect(keys.length).toBeGreaterThan(1);
    expect(new Set(keys).size).toBe(1);
  });
});

test('C1: a refused token is final, is told in the words of the control plane, with the fix', async () => {
  const { control, home, token } = await mesh();
  const error = { code: 'TOKEN_USED', message: 'the join token was already used' };
  control.override.set('/v1/enrol', (_, response) => reply(response, 401, { error }));
  expect(await codeOf(obtain(home, token))).toMatchObject({
    ...error,
    hint: 'run: postern token create shop/payments, then start again with --token',
  });
  expect(control.asked).toHaveLength(1);
});

test('the first contact trusts exactly the roots of the token', async () => {
  const { control, home } = await mesh();
  const stranger = await createTestCa();
  const token = stranger.token({ service: 'shop/payments', url: control.url });
  expect((await codeOf(obtain(home, token))).code).toBe('CONTROL_UNTRUSTED');
  expect(control.asked).toEqual([]);
});

test('a certificate of another name, for another key, of another CA or out of time is not stored', async () => {
  const ca = await createTestCa();
  const stranger = await createTestCa();
  const now = Date.now();
  const life = { notBefore: now - 60_000, notAfter: now + 60_000 };
  type Issue = (csr: string) => Promise<Uint8Array[]>;
  const rows: readonly [string, Issue, string, RegExp][] = [
    [
      'name',
      (csr) => ca.certify({ service: 'shop/billing', publicKey: keyOfCsr(csr), ...life }),
      'SIDECAR_SVID_REFUSED',
      /shop\/billing, not/,
    ],
    [
      'key',
      async () => [...(await ca.issue({ service: 'shop/payments' })).chain],
      'SIDECAR_SVID_REFUSED',
      /private key/,
    ],
    [
      'CA',
      (csr) => stranger.certify({ service: 'shop/payments', publicKey: keyOfCsr(csr), ...life }),
      'SIDECAR_SVID_REFUSED',
      /root|signer/,
    ],
    [
      'time',
      (csr) =>
        ca.certify({
          service: 'shop/payments',
          publicKey: keyOfCsr(csr),
          notBefore: now + 3_600_000,
          notAfter: now + 7_200_000,
        }),
      'SIDECAR_CLOCK_WRONG',
      /it is .* here/,
    ],
  ];
  for (const [name, issue, expected, words] of rows) {
    const control = await startFakeControl({ ca, service: 'shop/payments' });
    control.override.set('/v1/enrol', (_, response, body) => {
      void issue((body as { csr: string }).csr).then((chain) =>
        reply(response, 200, {
          version: 1,
          id: 'spiffe://example.org/shop/payments',
          instance: 'i',
          chain: chain.map((der) => Buffer.from(der).toString('base64')),
          ...life,
          bundle: ca.bundleText,
        }),
      );
    });
    const home = temporaryFolder();
    const failed = await codeOf(obtain(home, ca.token({ service: 'shop/payments', url: control.url })));
    expect([failed.code, failed.message], name).toEqual([expected, expect.stringMatching(words)]);
    expect(existsSync(join(home, 'sidecar', 'svid.pem')), name).toBe(false);
  }
});

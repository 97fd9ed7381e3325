// Getting and keeping an identity over the network: tokens, requests, renewals, floods.
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { createCsr, type Identity } from '#spiffe';
import type { IdentityStatus, SvidReply, TokenList } from '#wire';
import { createMesh, enrolment, identityOf, type Mesh, newKey, someFacts } from '../helpers/control-plane.ts';

const csrOf = (key = newKey()) => Buffer.from(createCsr(key)).toString('base64');
const renewal = (identity: Identity, key = newKey()) =>
  ({ method: 'POST', path: '/v1/renew', identity, body: { version: 1, csr: csrOf(key) } }) as const;

async function certificatesOf(mesh: Mesh, service: string) {
  const { identities } = await mesh.admin.call<{ identities: IdentityStatus[] }>({
    method: 'GET',
    path: '/v1/identities',
  });
  return identities.find(({ id }) => id === `spiffe://example.org/${service}`)?.certificates ?? [];
}

describe('a join token', () => {
  test('gives the identity that it names, whatever the request asks for', async () => {
    const mesh = await createMesh();
    const key = newKey();
    const { status, body } = await mesh.ask(enrolment({ token: await mesh.token('payments'), key }));
    expect(status).toBe(200);
    const reply = body as unknown as SvidReply;
    expect(reply.id).toBe('spiffe://example.org/payments');
    expect(identityOf(reply, key).id.uri).toBe('spiffe://example.org/payments');
    expect(await mesh.events('enrol')).toMatchObject([{ outcome: 'done', subject: 'spiffe://example.org/payments' }]);
    expect((await mesh.events('enrol'))[0]?.remote).toMatch(/^127\.0\.0\.1:/);
  });

  test('C1: none, forged, cut short or of 1 MB is refused with a code and no detail, and recorded', async () => {
    const mesh = await createMesh();
    const good = await mesh.token('payments');
    const [head, claims] = good.split('.');
    const tokens = ['x', good.slice(0, -10), `${head}.${claims}.AAAA`, `${head}.${claims}.${'A'.repeat(86)}`];
    for (const token of tokens) {
      const { status, body } = await mesh.ask(enrolment({ token, key: newKey() }));
      expect([status, body]).toEqual([
        401,
        { error: { code: 'TOKEN_INVALID', message: 'the join token was refused' } },
      ]);
    }
    const bare = { ...enrolment({ token: '', key: newKey() }), headers: {} };
    expect((await mesh.ask(bare)).body.error?.code).toBe('TOKEN_MISSING');
    const huge = await mesh
      .ask(enrolment({ token: 'A'.repeat(1_000_000), key: newKey() }))
      .catch(() => ({ status: 431 }));
    expect(huge.status).toBe(431);
    const events = await mesh.events('enrol');
    expect(events.map(({ outcome, reason }) => `${outcome} ${reason}`)).toEqual([
      ...tokens.map(() => 'refused TOKEN_INVALID'),
      'refused TOKEN_MISSING',
    ]);
    expect((await mesh.ask(enrolment({ token: good, key: newKey() }))).status).toBe(200);
  });

  test('C2: of 100 parallel uses exactly one gives an identity and 99 refusals are recorded', async () => {
    const mesh = await createMesh();
    const token = await mesh.token('payments');
    const answers = await Promise.all(Array.from({ length: 100 }, () => mesh.ask(enrolment({ token, key: newKey() }))));
    const told = answers.map(({ status, body }) => `${status} ${body.error?.code ?? 'issued'}`).sort();
    expect(told).toEqual(['200 issued', ...Array.from({ length: 99 }, () => '401 TOKEN_USED')]);
    expect(await certificatesOf(mesh, 'payments')).toHaveLength(1);
    const outcomes = (await mesh.events('enrol')).map(({ outcome, reason = '' }) => `${outcome} ${reason}`).sort();
    expect(outcomes).toEqual(['done ', ...Array.from({ length: 99 }, () => 'refused TOKEN_USED')]);
  });

  test('C3: asked again with the same key gives the same certificate, after a restart too; another key is refused', async () => {
    const mesh = await createMesh();
    const token = await mesh.token('payments');
    const key = newKey();
    const first = (await mesh.ask(enrolment({ token, key }))).body as unknown as SvidReply;
    const again = (await mesh.ask(enrolment({ token, key }))).body as unknown as SvidReply;
    expect(again.chain[0]).toBe(first.chain[0]);
    await mesh.restart();
    const later = (await mesh.ask(enrolment({ token, key }))).body as unknown as SvidReply;
    expect(later.chain[0]).toBe(first.chain[0]);
    expect((await mesh.ask(enrolment({ token, key: newKey() }))).body.error?.code).toBe('TOKEN_USED');
    expect(await certificatesOf(mesh, 'payments')).toHaveLength(1);
  });

  test('is not kept anywhere in the home', async () => {
    const mesh = await createMesh();
    const token = await mesh.token('payments');
    const { readdirSync, readFileSync, statSync } = await import('node:fs');
    const files = (readdirSync(mesh.home, { recursive: true }) as string[])
      .map((name) => `${mesh.home}/${name}`)
      .filter((path) => statSync(path).isFile() && !path.endsWith('lock.db'));
    const signature = token.split('.')[2]!;
    for (const path of files) {
      const content = readFileSync(path).toString('latin1');
      expect(content.includes(signature) || content.includes(createHash('sha256').update(token).digest('hex'))).toBe(
        false,
      );
    }
  });

  test.each(['postern/server', 'postern/admin/eve', 'postern'])('is not made for %s', async (service) => {
    const mesh = await createMesh();
    await expect(mesh.token(service)).rejects.toMatchObject({ code: 'TOKEN_SERVICE_INVALID' });
  });

  test('is not made for another trust domain or a name that is no SPIFFE path', async () => {
    const mesh = await createMesh();
    await expect(mesh.token('spiffe://other.org/payments')).rejects.toMatchObject({ code: 'TOKEN_SERVICE_INVALID' });
    await expect(mesh.token('pay ments')).rejects.toMatchObject({ code: 'IDENTITY_ID_INVALID' });
    await expect(mesh.token('../ca')).rejects.toMatchObject({ code: 'IDENTITY_ID_INVALID' });
  });

  test('is not made for a service whose host name is taken by another', async () => {
    const mesh = await createMesh();
    await mesh.enrol('shop/payments');
    for (const service of ['payments.shop', 'Shop/Payments', 'SHOP/payments']) {
      await expect(mesh.token(service)).rejects.toMatchObject({ code: 'TOKEN_HOST_TAKEN' });
    }
    await mesh.token('shop/payments');
    await mesh.token('payments');
  });

  test('a name that never led to an identity gives way once its token has expired', async () => {
    const mesh = await createMesh();
    await mesh.token('Payments');
    await expect(mesh.token('payments')).rejects.toMatchObject({ code: 'TOKEN_HOST_TAKEN' });
    mesh.clock.advance(700_000);
    await mesh.token('payments');
  });

  test('is listed without itself', async () => {
    const mesh = await createMesh();
    const token = await mesh.token('payments');
    const list = await mesh.admin.call<TokenList>({ method: 'GET', path: '/v1/tokens' });
    expect(list.tokens).toMatchObject([
      {
        service: 'spiffe://example.org/payments',
        state: 'unused',
        createdBy: 'spiffe://example.org/postern/admin/ada',
      },
    ]);
    expect(JSON.stringify(list)).not.toContain(token);
  });
});

describe('a request', () => {
  test.each([
    ['another version', { version: 2, csr: csrOf(), facts: someFacts }, 'REQUEST_INVALID'],
    ['no version', { csr: csrOf(), facts: someFacts }, 'REQUEST_INVALID'],
    ['an unknown field', { version: 1, csr: csrOf(), facts: someFacts, admin: true }, 'REQUEST_INVALID'],
    ['an unknown fact', { version: 1, csr: csrOf(), facts: { ...someFacts, id: 'x' } }, 'REQUEST_INVALID'],
    ['a CSR that is none', { version: 1, csr: 'AAAA', facts: someFacts }, 'CSR_INVALID'],
    [
      'a CSR of 16 KB nested deep',
      { version: 1, csr: Buffer.alloc(12_000, 0x30).toString('base64'), facts: someFacts },
      'CSR_INVALID',
    ],
    ['a list', [], 'REQUEST_INVALID'],
    ['nothing', null, 'REQUEST_INVALID'],
  ])('C8: with %s is refused and leaves the token unused', async (_, body, code) => {
    const mesh = await createMesh();
    const token = await mesh.token('payments');
    const answer = await mesh.ask({ ...enrolment({ token, key: newKey() }), body });
    expect([answer.status, answer.body.error?.code]).toEqual([400, code]);
    expect(answer.body.error?.hint).toBeUndefined();
    expect((await mesh.ask(enrolment({ token, key: newKey() }))).status).toBe(200);
  });
});

describe('a renewal', () => {
  test('gives the same identity and instance again, with a later end', async () => {
    const mesh = await createMesh();
    const proxy = await mesh.enrol('payments');
    mesh.clock.advance(2_000);
    const key = newKey();
    const { status, body } = await mesh.ask(renewal(proxy.identity, key));
    const reply = body as unknown as SvidReply;
    expect(status).toBe(200);
    expect([reply.id, reply.instance]).toEqual([proxy.service, proxy.instance]);
    expect(reply.notAfter).toBeGreaterThan(proxy.identity.notAfter);
    expect(identityOf(reply, key).serial).not.toBe(proxy.identity.serial);
    expect(await mesh.events('renew')).toMatchObject([{ outcome: 'done' }]);
  });

  test('is for admins too', async () => {
    const mesh = await createMesh();
    const { body } = await mesh.ask(renewal(mesh.adminIdentity));
    expect((body as unknown as SvidReply).id).toBe('spiffe://example.org/postern/admin/ada');
  });

  test('C9: is of no use to a thief: a ban of the certificate reaches what it was renewed into', async () => {
    const mesh = await createMesh();
    const [proxy, other, key] = [await mesh.enrol('payments'), await mesh.enrol('payments'), newKey()];
    const renewed = identityOf((await mesh.ask(renewal(proxy.identity, key))).body as unknown as SvidReply, key);
    const body = { version: 1, serial: proxy.identity.serial };
    const reply = await mesh.admin.call<{ bans: { serial: string }[] }>({ method: 'POST', path: '/v1/bans', body });
    expect(reply.bans.map(({ serial }) => serial).sort()).toEqual([body.serial, renewed.serial].sort());
    expect((await mesh.ask(renewal(renewed))).body.error?.code).toBe('CALLER_BANNED');
    expect((await mesh.ask(renewal(other.identity))).status).toBe(200);
  });

  test('a ban of the certificate that an admin renewed from would shut that admin out, and is refused', async () => {
    const [mesh, key] = [await createMesh(), newKey()];
    const identity = identityOf((await mesh.ask(renewal(mesh.adminIdentity, key))).body as unknown as SvidReply, key);
    const body = { version: 1, serial: mesh.adminIdentity.serial };
    expect((await mesh.ask({ method: 'POST', path: '/v1/bans', identity, body })).body.error?.code).toBe('BAN_SELF');
  });

  test('C9: is refused to a banned identity, to a banned serial and to an expired one', async () => {
    const mesh = await createMesh();
    const [one, two, three] = [await mesh.enrol('one'), await mesh.enrol('two'), await mesh.enrol('three')];
    await mesh.admin.call({ method: 'POST', path: '/v1/bans', body: { version: 1, id: 'one' } });
    await mesh.admin.call({ method: 'POST', path: '/v1/bans', body: { version: 1, serial: two.identity.serial } });
    expect((await mesh.ask(renewal(one.identity))).body.error?.code).toBe('CALLER_BANNED');
    expect((await mesh.ask(renewal(two.identity))).body.error?.code).toBe('CALLER_BANNED');
    expect((await mesh.ask(renewal(three.identity))).status).toBe(200);
    const reasons = (await mesh.events('renew')).map(({ reason }) => reason);
    expect(reasons).toEqual(['CALLER_BANNED', 'CALLER_BANNED', undefined]);
    mesh.clock.advance(3_700_000);
    await expect(mesh.ask(renewal(three.identity))).rejects.toThrow();
  });

  test('C9: for another identity is not possible: what the request says of itself is ignored', async () => {
    const mesh = await createMesh();
    const [one] = [await mesh.enrol('one'), await mesh.enrol('two')];
    const { body } = await mesh.ask(renewal(one.identity));
    expect((body as unknown as SvidReply).id).toBe(one.service);
  });
});

describe('C10: a flood', () => {
  test('of enrolments from one address is slowed with 429, and other routes go on', async () => {
    const mesh = await createMesh({ limits: { enrolPerAddress: { burst: 5, perSecond: 1 } } });
    const statuses: number[] = [];
    for (let i = 0; i < 8; i++) statuses.push((await mesh.ask(enrolment({ token: 'x', key: newKey() }))).status);
    expect(statuses).toEqual([401, 401, 401, 401, 401, 429, 429, 429]);
    expect((await mesh.ask({ path: '/v1/bundle' })).status).toBe(200);
    mesh.clock.advance(1_000);
    expect((await mesh.ask(enrolment({ token: await mesh.token('payments'), key: newKey() }))).status).toBe(200);
  });

  test('of renewals from one instance is slowed, and another instance of the same service is not', async () => {
    const mesh = await createMesh({ limits: { renewPerInstance: { burst: 3, perSecond: 1 } } });
    const [one, two] = [await mesh.enrol('payments'), await mesh.enrol('payments')];
    const statuses: number[] = [];
    for (let i = 0; i < 5; i++) statuses.push((await mesh.ask(renewal(one.identity))).status);
    expect(statuses).toEqual([200, 200, 200, 429, 429]);
    expect((await mesh.ask(renewal(two.identity))).status).toBe(200);
  });

  test('of refusals is counted, not written one by one', async () => {
    const mesh = await createMesh({ limits: { refusalsPerMinute: 5 } });
    for (let i = 0; i < 12; i++) await mesh.ask(enrolment({ token: 'x', key: newKey() }));
    expect(await mesh.events('enrol')).toHaveLength(5);
    mesh.clock.advance(60_000);
    const events = await mesh.events('enrol');
    expect(events).toHaveLength(6);
    expect(events[5]).toMatchObject({ reason: 'TOKEN_INVALID', details: { unwritten: 7 } });
  });
});

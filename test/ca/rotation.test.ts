import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Authority, type CaEvent, openAuthority } from '#ca';
import { type Identity, spiffeIdOf, verifyChain } from '#spiffe';
import { createClock, type SettableClock } from '../helpers/clock.ts';
import { createTestAuthority, type TestAuthority } from '../helpers/pki.ts';

const settings = {
  svidTtlMs: 3_600_000,
  issuingTtlMs: 24 * 3_600_000,
  rootTtlMs: 365 * 86_400_000,
  adminTtlMs: 3_600_000,
};
const hour = 3_600_000;
let clock: SettableClock;
let ca: TestAuthority;
let events: CaEvent[];

beforeEach(async () => {
  clock = createClock();
  events = [];
  ca = await createTestAuthority({ clock, settings, onEvent: (event) => events.push(event) });
});
afterEach(() => ca.close());

const id = spiffeIdOf({ trustDomain: 'example.org', service: 'web' });
const issue = (authority: Authority = ca.authority): Identity =>
  authority.issueLocal({ id, ttlMs: hour, instance: 'x' });
const verify = (identity: Identity) =>
  verifyChain({ chain: identity.chain, bundle: ca.authority.bundle(), now: clock.now() });
const tick = async (isHeld = true, authority: Authority = ca.authority): Promise<void> => {
  authority.tick({ bundleHeldByAll: () => isHeld });
  await authority.idle();
};
const states = (which: 'roots' | 'issuing') => ca.authority.status()[which].map(({ state }) => state);
const keyFiles = () =>
  readdirSync(join(ca.home, 'ca'))
    .filter((name) => !name.startsWith('token'))
    .sort();

describe('the issuing CA', () => {
  it('is prepared at half of its life, active before the last sixth, and removed when its last leaf has expired', async () => {
    const first = ca.authority.status().issuing[0]!.fingerprint;
    clock.advance(11 * hour);
    await tick();
    expect(states('issuing')).toEqual(['active']);
    clock.advance(hour);
    await tick();
    expect(states('issuing')).toEqual(['prepared', 'active']);
    clock.advance(7 * hour);
    await tick();
    expect(states('issuing')).toEqual(['prepared', 'active']);
    const old = issue();
    clock.advance(hour - 1);
    await tick();
    expect(states('issuing')).toEqual(['active', 'retiring']);
    expect(clock.now()).toBeLessThan(ca.authority.status().issuing[1]!.notAfter - (24 * hour) / 6);
    expect(verify(old).id).toEqual(id);
    expect(verify(issue()).id).toEqual(id);
    expect(keyFiles()).toHaveLength(3);
    clock.advance(hour + 40_000);
    await tick();
    expect(states('issuing')).toEqual(['active']);
    expect(ca.authority.status().issuing[0]!.fingerprint).not.toBe(first);
    expect(keyFiles()).toHaveLength(2);
    expect(ca.authority.bundle().sequence).toBe(1n);
  });

  it('is replaced at once when asked, and the event names who asked', async () => {
    const before = issue();
    const changes: string[] = [];
    ca.authority.onChange((what) => changes.push(what));
    await ca.authority.rotateIssuing({ by: 'spiffe://example.org/postern/admin/eve' });
    expect(states('issuing')).toEqual(['active', 'retiring']);
    expect(Buffer.from(issue().chain[1]!).equals(Buffer.from(before.chain[1]!))).toBe(false);
    expect(verify(before).id).toEqual(id);
    expect(changes).toEqual(['issuing']);
    expect(events.at(-2)).toMatchObject({
      action: 'rotate',
      actor: 'spiffe://example.org/postern/admin/eve',
      subject: 'issuing',
    });
  });

  it('a prepared one survives a restart and is then activated', async () => {
    clock.advance(12 * hour);
    await tick();
    const prepared = ca.authority.status().issuing[0]!.fingerprint;
    ca.authority.close();
    const again = await openAuthority({ home: ca.home, clock });
    clock.advance(9 * hour);
    await tick(true, again);
    expect(again.status().issuing.find(({ state }) => state === 'active')?.fingerprint).toBe(prepared);
    Object.assign(ca, { authority: again });
  });
});

describe('a root rotation', () => {
  it('ID-16, F-01: prepared in every bundle first, then active, then the old root goes last', async () => {
    const old = issue();
    await ca.authority.rotateRoot({ by: 'local' });
    expect(ca.authority.status().rootRotation).toMatchObject({
      phase: 'prepared',
      waitingFor: expect.stringMatching(/every proxy/),
    });
    expect(states('roots')).toEqual(['prepared', 'active']);
    expect(ca.authority.bundle()).toMatchObject({ sequence: 2n, roots: { length: 2 } });
    await tick(false);
    expect(states('roots')).toEqual(['prepared', 'active']);
    const meanwhile = issue();
    await tick(true);
    expect(states('roots')).toEqual(['active', 'retiring']);
    expect(states('issuing')).toEqual(['active', 'retiring']);
    expect(ca.authority.bundle()).toMatchObject({ sequence: 2n, roots: { length: 2 } });
    for (const identity of [old, meanwhile, issue()]) expect(verify(identity).id).toEqual(id);
    clock.advance(hour - 1_000);
    await tick(true);
    expect(ca.authority.status().rootRotation.phase).toBe('retiring');
    clock.advance(60_000);
    await tick(true);
    expect(states('roots')).toEqual(['active']);
    expect(ca.authority.bundle()).toMatchObject({ sequence: 3n, roots: { length: 1 } });
    expect(ca.authority.status().rootRotation.phase).toBe('stable');
    expect(keyFiles()).toHaveLength(2);
    expect(() => verify(old)).toThrowError(expect.objectContaining({ code: 'IDENTITY_EXPIRED' }));
    expect(verify(issue()).id).toEqual(id);
  });

  it('asks for the sequence that holds the new root', async () => {
    await ca.authority.rotateRoot({ by: 'local' });
    const asked: bigint[] = [];
    ca.authority.tick({
      bundleHeldByAll: (sequence) => {
        asked.push(sequence);
        return false;
      },
    });
    expect(asked).toEqual([2n]);
  });

  it('goes on after a restart, from whatever phase it was in', async () => {
    issue();
    await ca.authority.rotateRoot({ by: 'local' });
    const reopen = async () => {
      ca.authority.close();
      Object.assign(ca, { authority: await openAuthority({ home: ca.home, clock }) });
    };
    await reopen();
    expect(ca.authority.status().rootRotation.phase).toBe('prepared');
    await tick(true);
    await reopen();
    expect(ca.authority.status().rootRotation.phase).toBe('retiring');
    clock.advance(hour + 60_000);
    await tick(true);
    expect(ca.authority.status().rootRotation.phase).toBe('stable');
  });

  it('a second one is refused while a root is prepared', async () => {
    await ca.authority.rotateRoot({ by: 'local' });
    expect(() => ca.authority.rotateRoot({ by: 'local' })).toThrowError(
      expect.objectContaining({ code: 'CA_ROTATION_RUNNING' }),
    );
  });

  it('a lost reply from before is answered with the same chain while the old CA retires', async () => {
    const { createCsr, createKeyPair } = await import('#spiffe');
    const { token } = await ca.authority.createToken({
      service: id,
      url: 'https://127.0.0.1:1',
      ttlMs: 60_000,
      by: 'x',
    });
    const csr = createCsr(createKeyPair());
    const first = await ca.authority.enrol({ token, csr });
    await ca.authority.rotateRoot({ by: 'local' });
    await tick(true);
    const again = await ca.authority.enrol({ token, csr });
    expect(again.replayed).toBe(true);
    expect(again.chain.map((one) => Buffer.from(one).toString('hex'))).toEqual(
      first.chain.map((one) => Buffer.from(one).toString('hex')),
    );
  });

  it('with lives of seconds, every certificate in use verifies at every moment', async () => {
    const quick = await createTestAuthority({
      clock,
      settings: { svidTtlMs: 4_000, adminTtlMs: 4_000, issuingTtlMs: 20_000, backdateMs: 1_000 },
    });
    let held: Identity[] = [];
    for (let second = 0; second < 120; second++) {
      if (second % 15 === 3 && quick.authority.status().rootRotation.phase === 'stable')
        await quick.authority.rotateRoot({ by: 'x' });
      await tick(second % 3 === 0, quick.authority);
      held = [...held.filter(({ notAfter }) => notAfter > clock.now()), issue2(quick.authority)];
      for (const { chain } of held) verifyChain({ chain, bundle: quick.authority.bundle(), now: clock.now() });
      clock.advance(1_000);
    }
    expect(quick.authority.bundle().sequence).toBeGreaterThan(6n);
    expect(quick.authority.status().warnings).toEqual([]);
    quick.close();
  });
});

function issue2(authority: Authority): Identity {
  return authority.issueLocal({ id, ttlMs: 4_000, instance: 'x' });
}

// C13: the authority is killed at every write; it always opens again, and nothing that it acknowledged is lost or done twice.
import { spawn } from 'node:child_process';
import { cpSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { systemClock as clock } from '#base/clock';
import { initAuthority, openAuthority } from '#ca';
import { createCsr, createKeyPair, spiffeIdOf } from '#spiffe';
import { createTestHome } from '../helpers/pki.ts';

interface Line {
  readonly what: string;
  readonly token?: string;
  readonly csr?: string;
  readonly serial?: string;
  readonly active?: string;
  readonly roots?: number;
  readonly writes?: number;
}

const child = fileURLToPath(new URL('../helpers/killed.ts', import.meta.url));
/** Two processes at a time: the machine has others to serve. */
const atOnce = 2;

function run(scenario: string, home: string, at: number): Promise<Line[]> {
  return new Promise((resolve) => {
    const process_ = spawn(process.execPath, [child, scenario, home, String(at)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let out = '';
    process_.stdout.on('data', (text: Buffer) => {
      out += text.toString();
    });
    process_.on('close', () =>
      resolve(
        out
          .split('\n')
          .filter(Boolean)
          .map((line) => JSON.parse(line) as Line),
      ),
    );
  });
}

/** Runs the scenario once for each of its writes, killed before it, each time in a copy of `base`. */
async function killedEverywhere(
  scenario: string,
  base: string | undefined,
  examine: (home: string, lines: readonly Line[]) => Promise<void>,
): Promise<number> {
  const inCopy = async (at: number): Promise<Line[]> => {
    const home = createTestHome();
    if (base) cpSync(base, home, { recursive: true });
    const target = base ? home : join(home, 'new');
    const lines = await run(scenario, target, at);
    try {
      await examine(target, lines);
      expect(readdirSync(join(target, 'ca')).filter((name) => name.endsWith('.tmp'))).toEqual([]);
    } catch (thrown) {
      throw new Error(`${scenario} killed before write ${at}, after ${lines.map(({ what }) => what).join(', ')}`, {
        cause: thrown,
      });
    }
    rmSync(home, { recursive: true, force: true });
    return lines;
  };
  const whole = await inCopy(0);
  const writes = whole.at(-1)!.writes!;
  const points = Array.from({ length: writes }, (_, index) => index + 1);
  const next = points.values();
  const worker = async (): Promise<void> => {
    for (const point of next) await inCopy(point);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return writes;
}

async function createBase(): Promise<string> {
  const home = createTestHome();
  (await initAuthority({ home, trustDomain: 'example.org', clock, settings: { backdateMs: 0 } })).close();
  return home;
}

const id = spiffeIdOf({ trustDomain: 'example.org', service: 'web' });
const code = (expected: string) => expect.objectContaining({ code: expected });

describe('C13: killed at every write', () => {
  it('`ca init` either finished or can be run again', async () => {
    const writes = await killedEverywhere('init', undefined, async (home, lines) => {
      const open = () => openAuthority({ home, clock });
      const authority = await open().catch((thrown: unknown) => {
        if (lines.some(({ what }) => what === 'open')) throw thrown;
        return initAuthority({ home, trustDomain: 'example.org', clock });
      });
      expect(authority.status().roots).toHaveLength(1);
      expect(authority.issueLocal({ id, ttlMs: 60_000, instance: 'x' }).id.uri).toBe(id.uri);
      authority.close();
      await expect(initAuthority({ home, trustDomain: 'example.org', clock })).rejects.toThrowError(code('CA_EXISTS'));
    });
    expect(writes).toBeGreaterThan(10);
  }, 120_000);

  it('no token is used twice, no serial given twice, nothing acknowledged is lost', async () => {
    const base = await createBase();
    await killedEverywhere('enrol', base, async (home, lines) => {
      const find = (what: string) => lines.find((line) => line.what === what);
      const authority = await openAuthority({ home, clock });
      const [asked, enrolled, renewed, banned] = [find('token'), find('enrol'), find('renew'), find('ban')];
      if (banned) expect(authority.isBanned({ id, serial: banned.serial! })).toBe(true);
      for (const line of [enrolled, renewed]) if (line) expect(authority.instanceOf(line.serial!)).toBeTypeOf('string');
      const wasBanned = enrolled && authority.isBanned({ id, serial: enrolled.serial! });
      if (asked && !wasBanned) {
        const again = await authority.enrol({ token: asked.token!, csr: Buffer.from(asked.csr!, 'base64') });
        if (enrolled) expect(again).toMatchObject({ serial: enrolled.serial, replayed: true });
        await expect(authority.enrol({ token: asked.token!, csr: createCsr(createKeyPair()) })).rejects.toThrowError(
          code('TOKEN_USED'),
        );
        expect(authority.tokens()).toMatchObject([{ state: 'used', instance: again.instance }]);
        expect(authority.identities()).toMatchObject([{ id: id.uri, instances: 1 }]);
      }
      authority.close();
    });
    rmSync(base, { recursive: true, force: true });
  }, 120_000);

  it('a rotation resumes wherever it was', async () => {
    const base = await createBase();
    await killedEverywhere('rotate', base, async (home, lines) => {
      const authority = await openAuthority({ home, clock });
      const before = authority.status();
      const last = lines.findLast(({ active }) => active !== undefined);
      if (last)
        expect([...before.roots, ...before.issuing].map(({ fingerprint }) => fingerprint)).toContain(last.active);
      expect(before.roots.filter(({ state }) => state === 'active')).toHaveLength(1);
      expect(before.issuing.filter(({ state }) => state === 'active')).toHaveLength(1);
      if (before.roots.length === 1 && !lines.some(({ what }) => what === 'retired'))
        await authority.rotateRoot({ by: 'x' });
      for (let step = 0; step < 3; step++) {
        authority.tick({ bundleHeldByAll: () => true });
        await authority.idle();
      }
      expect(authority.status()).toMatchObject({
        roots: [{ state: 'active' }],
        rootRotation: { phase: 'stable' },
        warnings: [],
      });
      expect(authority.issueLocal({ id, ttlMs: 60_000, instance: 'x' }).id.uri).toBe(id.uri);
      authority.close();
    });
    rmSync(base, { recursive: true, force: true });
  }, 120_000);
});

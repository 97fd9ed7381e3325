// A process of its own that does one thing to a home and is killed, as by `kill -9`, right before its n-th write (to a file, or a
// commit): an authority at the mercy of a power switch. What it had acknowledged before is on its standard output, one JSON object a line.
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { DatabaseSync, StatementSync } from 'node:sqlite';

const [, , scenario = '', home = '', at = '0'] = process.argv;
let writes = 0;
let isInTransaction = false;

/** Counts a write; the one that was asked for is never reached. */
function count(): void {
  if (++writes === Number(at)) process.kill(process.pid, 'SIGKILL');
}

for (const name of ['openSync', 'writeSync', 'renameSync', 'rmSync', 'mkdirSync'] as const) {
  const real = fs[name] as (...given: unknown[]) => unknown;
  Object.assign(fs, {
    [name](...given: unknown[]) {
      if (name !== 'openSync' || given[1] !== 'r') count();
      return real.apply(fs, given);
    },
  });
}
syncBuiltinESMExports();
const { exec } = DatabaseSync.prototype;
DatabaseSync.prototype.exec = function (sql) {
  if (sql.startsWith('BEGIN')) isInTransaction = true;
  if (sql === 'COMMIT') {
    count();
    isInTransaction = false;
  }
  return exec.call(this, sql);
};
const { run } = StatementSync.prototype;
StatementSync.prototype.run = function (this: StatementSync, ...given: Parameters<typeof run>) {
  // Within a transaction the write is the commit.
  if (!isInTransaction) count();
  return run.apply(this, given);
} as typeof run;

const { initAuthority, openAuthority } = await import('#ca');
const { createCsr, createKeyPair, readSvid, spiffeIdOf } = await import('#spiffe');
const { systemClock: clock } = await import('#base/clock');
/** Standard output is written with the real function: an acknowledgement is not a write of the authority. */
const acknowledge = (what: string, facts: Readonly<Record<string, unknown>> = {}): void => {
  process.stdout.write(`${JSON.stringify({ what, ...facts })}\n`);
};

const settings = { backdateMs: 0 };
const authority =
  scenario === 'init'
    ? await initAuthority({ home, trustDomain: 'example.org', clock, settings })
    : await openAuthority({ home, clock });
acknowledge('open');
const id = spiffeIdOf({ trustDomain: 'example.org', service: 'web' });
if (scenario === 'enrol') {
  const { token } = await authority.createToken({ service: id, url: 'https://127.0.0.1:1', ttlMs: 600_000, by: 'x' });
  const [csr, renewal] = [createCsr(createKeyPair()), createCsr(createKeyPair())];
  acknowledge('token', { token, csr: Buffer.from(csr).toString('base64') });
  const made = await authority.enrol({ token, csr });
  acknowledge('enrol', { serial: made.serial });
  const renewed = authority.renew({ presented: readSvid(made.chain[0]!), csr: renewal });
  acknowledge('renew', { serial: renewed.serial });
  authority.ban({ serial: made.serial, by: 'x' });
  acknowledge('ban', { serial: made.serial });
}
if (scenario === 'rotate') {
  await authority.rotateIssuing({ by: 'x' });
  acknowledge('issuing', { active: authority.status().issuing.find(({ state }) => state === 'active')?.fingerprint });
  await authority.rotateRoot({ by: 'x' });
  acknowledge('root', { roots: authority.status().roots.length });
  authority.tick({ bundleHeldByAll: () => true });
  await authority.idle();
  acknowledge('active', { active: authority.status().roots.find(({ state }) => state === 'active')?.fingerprint });
  authority.tick({ bundleHeldByAll: () => true });
  acknowledge('retired', { roots: authority.status().roots.length });
}
authority.close();
acknowledge('end', { writes });

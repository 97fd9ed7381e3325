import { cpSync, existsSync, readFileSync, renameSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '#base/clock';
import type { PosternError } from '#base/error';
import { silentLog } from '#base/log';
import { type Server, startServer } from '#control';
import { createKeyPair } from '#spiffe';
import type { StatusReply } from '#wire';
import { readAdminIdentity, saveAdminIdentity } from '../../cli/admin-identity.ts';
import { withLocalAuthority } from '../../cli/authority.ts';
import { type CliContext, createContext } from '../../cli/context.ts';
import { initHome, issueAdmin } from '../../cli/init-home.ts';
import { createHome } from '../helpers/postern.ts';
import { createSink } from '../helpers/sink.ts';

const minute = 60_000;
const home = createHome();
const folder = join(home.path, 'admin');
let server: Server;

/** A command line whose clock runs ahead of the server's. */
async function contextAhead(
  ms: number,
  options: { server?: string; home?: string } = {},
): Promise<{ context: CliContext; said: () => string }> {
  const stderr = createSink();
  const clock = { ...systemClock, now: () => systemClock.now() + ms };
  const { context, configure } = createContext({ env: {}, stdout: createSink(), stderr, clock });
  await configure({ home: home.path, ...options });
  return { context, said: () => stderr.text };
}

const askStatus = ({ context }: { context: CliContext }): Promise<StatusReply> =>
  context.withApi((api) => api.call<StatusReply>({ method: 'GET', path: '/v1/status' }));
const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'fine',
    (thrown: PosternError) => thrown.code,
  );
const serial = (): string => readAdminIdentity(folder).serial;

beforeAll(async () => {
  const settings = { adminTtlMs: 40 * minute };
  await initHome({ home: home.path, trustDomain: 'example.org', admin: 'alice', clock: systemClock, settings });
  server = await startServer({ home: home.path, listen: '127.0.0.1:0' }, { clock: systemClock, log: silentLog });
});
afterAll(async () => {
  await server.close();
  home[Symbol.dispose]();
});
beforeEach(async () => {
  const { context } = await contextAhead(0);
  await withLocalAuthority(context, {}, (authority) => issueAdmin({ authority, name: 'alice', folder }));
});

describe('the admin identity', () => {
  test('is kept while it is young', async () => {
    const before = serial();
    expect((await askStatus(await contextAhead(0))).server.trustDomain).toBe('example.org');
    expect(serial()).toBe(before);
  });

  test('is renewed with a new key past its half-life, by using it', async () => {
    const before = readAdminIdentity(folder);
    await askStatus(await contextAhead(25 * minute));
    const after = readAdminIdentity(folder);
    expect(after.serial).not.toBe(before.serial);
    expect(after.id.uri).toBe('spiffe://example.org/postern/admin/alice');
    expect(after.key.equals(before.key)).toBe(false);
    expect(existsSync(join(folder, 'renewal.lock'))).toBe(false);
  });

  test('that expired says how to get another one, and nothing is sent', async () => {
    const late = askStatus(await contextAhead(45 * minute));
    await expect(late).rejects.toMatchObject({
      code: 'CLI_IDENTITY_EXPIRED',
      hint: 'on the host of the authority run: postern ca admin alice',
    });
  });

  test('is not renewed twice at once: the one who comes second uses what there is', async () => {
    const before = serial();
    writeFileSync(join(folder, 'renewal.lock'), '');
    const taken = (systemClock.now() + 25 * minute) / 1_000;
    utimesSync(join(folder, 'renewal.lock'), taken, taken);
    await askStatus(await contextAhead(25 * minute));
    expect(serial()).toBe(before);
    // A lock that a crash left behind does not last.
    utimesSync(join(folder, 'renewal.lock'), 0, 0);
    await askStatus(await contextAhead(25 * minute));
    expect(serial()).not.toBe(before);
  });

  test('survives a crash between the two files of a renewal', async () => {
    const { key } = readAdminIdentity(folder);
    renameSync(join(folder, 'key.pem'), join(folder, 'key.next.pem'));
    writeFileSync(join(folder, 'key.pem'), createKeyPair().privateKey.export({ format: 'pem', type: 'pkcs8' }), {
      mode: 0o600,
    });
    expect(readAdminIdentity(folder).key.equals(key)).toBe(true);
    expect(existsSync(join(folder, 'key.next.pem'))).toBe(false);
  });

  test('with another key, torn, or readable by others is refused with its fix', async () => {
    const identity = readAdminIdentity(folder);
    saveAdminIdentity(folder, { ...identity, key: createKeyPair().privateKey });
    expect(await codeOf(askStatus(await contextAhead(0)))).toBe('IDENTITY_KEY_MISMATCH');
    saveAdminIdentity(folder, identity);
    writeFileSync(join(folder, 'svid.pem'), '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n');
    await expect(askStatus(await contextAhead(0))).rejects.toMatchObject({
      code: 'CLI_HOME_BROKEN',
      hint: expect.stringContaining('postern ca admin'),
    });
  });
});

describe('the server', () => {
  test('is that of --server before that of the home', async () => {
    expect(await codeOf(askStatus(await contextAhead(0, { server: '127.0.0.1:1' })))).toBe('CONTROL_UNREACHABLE');
    expect(await codeOf(askStatus(await contextAhead(0, { server: new URL(server.url).host })))).toBe('fine');
  });

  test('of another authority is not trusted', async () => {
    using other = createHome();
    await initHome({ home: other.path, trustDomain: 'example.org', admin: 'alice', clock: systemClock });
    expect(await codeOf(askStatus(await contextAhead(0, { home: other.path, server: server.url })))).toBe(
      'CONTROL_UNTRUSTED',
    );
  });
});

test('the bundle of a home that is not the server’s is refreshed by use', async () => {
  using away = createHome();
  cpSync(folder, join(away.path, 'admin'), { recursive: true });
  const current = JSON.parse(readFileSync(join(home.path, 'bundle.json'), 'utf8'));
  const old = { ...current, bundle: current.bundle.replace(/("spiffe_sequence"\s*:\s*)\d+/, '$10') };
  writeFileSync(join(away.path, 'bundle.json'), JSON.stringify(old));
  utimesSync(join(away.path, 'bundle.json'), 0, 0);
  await askStatus(await contextAhead(0, { home: away.path, server: server.url }));
  expect(JSON.parse(readFileSync(join(away.path, 'bundle.json'), 'utf8'))).toEqual(current);
});

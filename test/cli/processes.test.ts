import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { anyPorts } from '../../cli/demo/processes.ts';
import { createHome, runPostern } from '../helpers/postern.ts';
import { type Process, startProcess } from '../helpers/processes.ts';

const home = createHome();
const start = (...words: string[]) => startProcess<Record<string, unknown>>(words);
let server: Process<Record<string, unknown>>;
beforeAll(async () => {
  await runPostern(['--home', home.path, 'ca', 'init', '--trust-domain', 'example.org']);
  server = await start('--home', home.path, 'server', '--listen', '127.0.0.1:0');
});
afterAll(async () => {
  await server.stop();
  home[Symbol.dispose]();
});

const tokenFor = async (service: string): Promise<string> =>
  JSON.parse((await runPostern(['--home', home.path, 'token', 'create', service, '-o', 'json'])).stdout).token;

describe('a sidecar', () => {
  test('says one JSON line with the addresses that it got, shows in status, and ends with 0 when told to', async () => {
    using own = createHome();
    const sidecar = await start(
      '--home',
      own.path,
      'sidecar',
      '--token',
      await tokenFor('web'),
      '--upstream',
      'pay=127.0.0.1:0',
      ...anyPorts,
    );
    expect(sidecar.ready).toMatchObject({ version: 1, ready: true, service: 'spiffe://example.org/web' });
    for (const name of ['inbound', 'outbound', 'admin', 'metrics'])
      expect(sidecar.ready[name]).toMatch(/^127\.0\.0\.1:[1-9]\d*$/);
    expect(sidecar.ready.upstreams).toEqual({ pay: expect.stringMatching(/^127\.0\.0\.1:[1-9]/) });
    const { stdout } = await runPostern(['--home', home.path, 'status']);
    expect(stdout).toMatch(/^SERVICE +INSTANCE +SYNC .*\nweb +\S+ +(synced|stale) /);
    process.kill(sidecar.pid, 'SIGHUP');
    expect((await sidecar.stop()).code).toBe(0);
  });

  test('takes its token from a private file, restarts without one, and exports its identity as PKCS#12', async () => {
    using own = createHome();
    const file = join(own.path, 'token');
    writeFileSync(file, `${await tokenFor('web')}\n`, { mode: 0o600 });
    const words = ['--home', own.path, 'sidecar', ...anyPorts];
    expect((await (await start(...words, '--token-file', file)).stop('SIGINT')).code).toBe(0);
    const again = await start(...words);
    expect(again.ready.service).toBe('spiffe://example.org/web');
    await again.stop();
    const p12 = join(own.path, 'web.p12');
    const { code, stdout } = await runPostern([
      '--home',
      own.path,
      'identity',
      'export',
      '--pkcs12',
      p12,
      '-o',
      'json',
    ]);
    expect([code, JSON.parse(stdout)]).toMatchObject([0, { file: p12, id: 'spiffe://example.org/web' }]);
    expect(statSync(p12).mode & 0o777).toBe(0o600);
  });

  test('refuses a token file that others can read', async () => {
    using own = createHome();
    const file = join(own.path, 'token');
    writeFileSync(file, 'x', { mode: 0o644 });
    const { code, stderr } = await runPostern(['--home', own.path, 'sidecar', '--token-file', file]);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/can be read by others.*\nhint: run: chmod 600/)]);
  });

  test('F5: a taken port is named, and nothing stays behind', async () => {
    using own = createHome();
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const { port } = taken.address() as { port: number };
    const words = ['sidecar', '--token', await tokenFor('web'), ...anyPorts, '--outbound', `127.0.0.1:${port}`];
    const { code, stderr } = await runPostern(['--home', own.path, ...words]);
    expect([code, stderr]).toEqual([1, expect.stringContaining(`127.0.0.1:${port}`)]);
    expect(stderr).not.toMatch(/\n +at /);
    await new Promise((resolve) => taken.close(resolve));
  });
});

describe('a server', () => {
  test('F3: ends with 0 on SIGTERM, and leaves no server.json that would mislead', async () => {
    using own = createHome();
    await runPostern(['--home', own.path, 'ca', 'init', '--trust-domain', 'example.org']);
    const one = await start('--home', own.path, 'server', '--listen', '127.0.0.1:0');
    expect(JSON.parse(readFileSync(join(own.path, 'server.json'), 'utf8')).url).toBe(one.ready.url);
    expect((await one.stop()).code).toBe(0);
    expect((await runPostern(['--home', own.path, 'status'])).code).toBe(5);
  });

  test('that was killed is worked around: the authority is opened directly', async () => {
    using own = createHome();
    await runPostern(['--home', own.path, 'ca', 'init', '--trust-domain', 'example.org']);
    const one = await start('--home', own.path, 'server', '--listen', '127.0.0.1:0');
    await one.stop('SIGKILL');
    const { code, stdout } = await runPostern(['--home', own.path, 'ca', 'status', '-o', 'json']);
    expect([code, JSON.parse(stdout).trustDomain]).toEqual([0, 'example.org']);
    expect((await runPostern(['--home', own.path, 'status'])).code).toBe(5);
  });
});

test('F5: a home that cannot be written is a clear error, and nothing is half made', async () => {
  using folder = createHome();
  chmodSync(folder.path, 0o555);
  // Root may write everywhere, so another user tries.
  const uid = process.getuid?.() === 0 ? { uid: 65_534 } : {};
  const env = { HOME: '/nowhere', NODE_COMPILE_CACHE: undefined };
  for (const words of [
    ['ca', 'init', '--trust-domain', 'example.org'],
    ['sidecar', '--token', 'x.y.z', ...anyPorts],
  ]) {
    const { code, stderr } = await runPostern(['--home', join(folder.path, 'home'), ...words], { env, ...uid });
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/^error: \S+ cannot be written: permission denied \[FILE_UNWRITABLE\]\n/),
    ]);
  }
  expect(readdirSync(folder.path)).toEqual([]);
});

test('F5: a home below a file is a clear error', async () => {
  using folder = createHome();
  writeFileSync(join(folder.path, 'file'), '');
  const { code, stderr } = await runPostern([
    '--home',
    join(folder.path, 'file', 'home'),
    'ca',
    'init',
    '--trust-domain',
    'example.org',
  ]);
  expect([code, stderr]).toEqual([1, expect.stringContaining('part of the path is not a folder')]);
});

import { chmodSync, cpSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { ControlEvent, TokenReply } from '#wire';
import { enrolment, identityOf, newKey } from '../helpers/control-plane.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { canFillDisk, emptyDisk, fillDisk } from '../helpers/limits.ts';
import { runPostern } from '../helpers/postern.ts';
import { initHome, openClients, startProcess } from '../helpers/processes.ts';
import { eventually } from '../helpers/until.ts';

const refusals = ['SERVER_STORE_FAILED', 'SERVER_EVENTS_UNWRITABLE'];
const noStack = /\n +at |node:internal|node_modules/;

async function serving(...flags: string[]) {
  const home = temporaryFolder();
  await initHome(home, ...flags);
  const server = await startProcess(['server', '--home', home, '--listen', '127.0.0.1:0']);
  onTestFinished(async () => void (await server.stop('SIGKILL')));
  const clients = openClients(home, server.ready.url!);
  onTestFinished(() => clients.close());
  const postern = (...words: string[]) => runPostern([...words, '--home', home]);
  return { home, server, postern, ...clients };
}

describe.runIf(canFillDisk)('the disk of a running server is full', () => {
  test('C12: nothing changes, reads are answered, each refusal says where to look, and it goes on by itself', async () => {
    const { home, server, postern, admin, ask } = await serving();
    const token = (service: string) =>
      admin.call<TokenReply>({ method: 'POST', path: '/v1/tokens', body: { version: 1, service } });
    const [first, second] = [await token('web'), await token('web')];
    const key = newKey();
    const enrolled = await ask(enrolment({ token: first.token, key }));
    const keys = readdirSync(join(home, 'ca'));
    fillDisk(server.pid);

    for (const words of [
      ['token', 'create', 'files'],
      ['identity', 'ban', 'web'],
      ['ca', 'rotate'],
      ['ca', 'rotate', '--root'],
      ['apply', '-f', new URL('../../examples', import.meta.url).pathname],
    ]) {
      const { code, stdout, stderr } = await postern(...words);
      expect([code, stdout, stderr], words.join(' ')).toEqual([
        1,
        '',
        expect.stringMatching(/^error: .*(disk|may not grow).* \[[A-Z_]+\]\nhint: check .*\n$/),
      ]);
      expect(stderr).not.toMatch(noStack);
    }
    const refused = await ask(enrolment({ token: second.token, key: newKey() }));
    expect([refused.status, refusals]).toEqual([503, expect.arrayContaining([refused.body.error?.code])]);
    // What needs no write is answered: pages, lists, and a token that was used, shown again with its key.
    // One of its instances has never connected, which `status` says by its exit code.
    expect((await postern('status')).code).toBe(3);
    for (const words of [
      ['ca', 'status'],
      ['identity', 'list'],
      ['audit', 'query', '--events'],
      ['get', 'policy'],
    ])
      expect((await postern(...words)).code, words.join(' ')).toBe(0);
    expect((await ask({ path: '/livez' })).status).toBe(200);
    const unready = await ask({ path: '/readyz', identity: identityOf(enrolled.body as never, key) });
    expect([unready.status, JSON.stringify(unready.body)]).toEqual([
      503,
      expect.stringContaining('events wait for the disk'),
    ]);
    expect(readdirSync(join(home, 'ca'))).toEqual(keys);

    emptyDisk(server.pid);
    await eventually(
      () => postern('token', 'create', 'files'),
      ({ code }) => code === 0,
    );
    expect((await ask(enrolment({ token: second.token, key: newKey() }))).status).toBe(200);
    const { stdout } = await postern('identity', 'list', '-o', 'json');
    expect(stdout).not.toContain('"banned": true');
    const { events } = await admin.call<{ events: ControlEvent[] }>({ method: 'GET', path: '/v1/events?action=ban' });
    expect(events.map(({ outcome }) => outcome)).toEqual(['failed']);
    expect(server.said()).not.toMatch(noStack);
    expect((await server.stop()).code).toBe(0);
  }, 60_000);
});

describe.runIf(process.platform === 'linux')('a disk that is full at the start', () => {
  test.each([0, 1, 8, 40, 80])(
    'C12: `ca init` with %d KiB of room fails in words, and works once there is room',
    async (room) => {
      const home = join(temporaryFolder(), 'home');
      const words = ['ca', 'init', '--trust-domain', 'example.org', '--home', home];
      const { code, stdout, stderr } = await runPostern(words, { shell: `ulimit -S -f ${room}` });
      if (code === 0) expect(room).toBeGreaterThan(40);
      else
        expect([code, stdout, stderr]).toEqual([
          1,
          '',
          expect.stringMatching(/^error: \S+ cannot be written: .+ \[\w+\]\nhint: check free space .+\n$/),
        ]);
      expect(stderr).not.toMatch(noStack);
      const again = await runPostern(words);
      expect([again.code, again.stderr]).toEqual(
        code === 0 ? [1, expect.stringContaining('CA_EXISTS')] : [0, expect.any(String)],
      );
    },
  );

  test('C12: a server says which file the disk refuses, leaves everything as it was, and starts once there is room', async () => {
    const home = temporaryFolder();
    await initHome(home);
    const words = ['server', '--home', home, '--listen', '127.0.0.1:0'];
    const before = readFileSync(join(home, 'postern.db'));
    const { code, stderr } = await runPostern(words, { shell: 'ulimit -S -f 0' });
    expect([code, stderr]).toEqual([1, expect.stringMatching(/^error: .*refuses.* \[\w+\]\nhint: check .+\n$/)]);
    expect(readFileSync(join(home, 'postern.db')).equals(before)).toBe(true);
    const server = await startProcess(words);
    expect((await server.stop()).code).toBe(0);
  });
});

// Root may write everywhere, so another user tries: nobody.
describe.runIf(process.getuid?.() === 0)('a home that may only be read', () => {
  test('C11, C12, F5: server, sidecar and authority say which file and what to check', async () => {
    const folder = temporaryFolder();
    chmodSync(folder, 0o755);
    const home = join(folder, 'home');
    await initHome(home);
    const own = join(folder, 'own');
    cpSync(home, own, { recursive: true });
    await runPostern(['version'], { shell: `chown -R 65534:65534 ${own} && chmod -R a-w ${own}` });
    const env = { HOME: '/nonexistent', NODE_COMPILE_CACHE: undefined };
    for (const words of [
      ['server', '--listen', '127.0.0.1:0'],
      ['sidecar', '--token', 'x.y.z', '--app', '127.0.0.1:1'],
      ['ca', 'rotate'],
    ]) {
      const { code, stderr } = await runPostern([...words, '--home', own], { uid: 65_534, env });
      expect([code, stderr], words.join(' ')).toEqual([
        1,
        expect.stringMatching(
          /^error: \S*\/own\S* cannot .*(permission denied|may not write).* \[\w+\]\nhint: check .+\n$/,
        ),
      ]);
      expect(stderr).not.toMatch(noStack);
    }
  });
});

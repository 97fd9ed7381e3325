import { createServer, request, type Server } from 'node:http';
import { type AddressInfo, connect, createServer as createTcp } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { parseHostPort } from '#base/host-port';
import { startLoad } from '../../bench/load/steady.ts';
import { anyPorts } from '../../cli/demo/processes.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { type RunOptions, runPostern } from '../helpers/postern.ts';
import { initHome, openClients, type Process, startProcess } from '../helpers/processes.ts';
import { eventually } from '../helpers/until.ts';

const policy = { kind: 'Policy', name: 'p', to: 'files', rules: [{ id: 'r', effect: 'allow', from: ['web'] }] };

interface Mesh {
  readonly home: string;
  readonly server: Process;
  join(service: string, o?: { app?: string; flags?: readonly string[]; options?: RunOptions }): Promise<Process>;
  status(sidecar: Process, path: string): Promise<number>;
}

async function startMesh(): Promise<Mesh> {
  const home = temporaryFolder();
  await initHome(home);
  const server = await startProcess(['server', '--home', home, '--listen', '127.0.0.1:0']);
  onTestFinished(async () => void (await server.stop('SIGKILL')));
  const { admin, close } = openClients(home, server.ready.url!);
  onTestFinished(close);
  await admin.call({ method: 'POST', path: '/v1/resources', body: { version: 1, resources: [{ resource: policy }] } });
  return {
    home,
    server,
    async join(service, { app = '127.0.0.1:1', flags = [], options = {} } = {}) {
      const body = { version: 1, service };
      const { token } = await admin.call<{ token: string }>({ method: 'POST', path: '/v1/tokens', body });
      const words = ['sidecar', '--home', temporaryFolder(), '--token', token, '--app', app, ...anyPorts, ...flags];
      const sidecar = await startProcess(words, options);
      onTestFinished(async () => void (await sidecar.stop('SIGKILL')));
      return sidecar;
    },
    status: (sidecar, path) =>
      new Promise((resolve, reject) => {
        const headers = { host: 'files' };
        request(`http://${sidecar.ready.outbound}${path}`, { headers, agent: false }, (answer) => {
          answer
            .resume()
            .on('end', () => resolve(answer.statusCode ?? 0))
            .on('error', reject);
        })
          .on('error', reject)
          .end();
      }),
  };
}

/** Answers after `ms`; `/slow` after `slowMs`. */
async function startApp(ms: number, slowMs = ms): Promise<{ address: string; server: Server }> {
  const server = createServer((asked, answer) =>
    setTimeout(() => answer.end('ok\n'), asked.url === '/slow' ? slowMs : ms),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

const untilAllowed = (mesh: Mesh, sidecar: Process) =>
  eventually(
    () => mesh.status(sidecar, '/').catch(() => 0),
    (status) => status === 200,
  );

describe('SIGTERM', () => {
  test('F3: one of two sidecars ends under load: exit 0 in time, and not one request fails', async () => {
    const mesh = await startMesh();
    const app = await startApp(5);
    const files = [await mesh.join('files', { app: app.address }), await mesh.join('files', { app: app.address })];
    const web = await mesh.join('web');
    await untilAllowed(mesh, web);
    const load = startLoad({
      to: parseHostPort(web.ready.outbound!)!,
      url: 'http://files/',
      perSecond: 200,
      connections: 16,
    });
    await wait(700);
    const begun = performance.now();
    const { code, signal, stderr } = await files[0]!.stop();
    expect([code, signal]).toEqual([0, null]);
    expect(performance.now() - begun).toBeLessThan(10_000);
    expect(stderr).not.toContain('"level":"error"');
    await wait(500);
    const { sent, ok, failures } = await load.stop();
    expect(failures).toEqual([]);
    expect([ok, sent > 200]).toEqual([sent, true]);
  }, 60_000);

  test('F3: what is in flight is finished until the deadline, then cut, and the exit code is 0 all the same', async () => {
    const mesh = await startMesh();
    const app = await startApp(1_500, 60_000);
    const files = await mesh.join('files', { app: app.address, flags: ['--drain', '3s'] });
    const web = await mesh.join('web');
    await untilAllowed(mesh, web);
    const [timely, late] = [mesh.status(web, '/'), mesh.status(web, '/slow').catch(() => 0)];
    await wait(300);
    const begun = performance.now();
    const { code } = await files.stop();
    const took = performance.now() - begun;
    expect([code, await timely]).toEqual([0, 200]);
    expect(await late).not.toBe(200);
    expect(took).toBeGreaterThan(2_500);
    expect(took).toBeLessThan(8_000);
  }, 60_000);

  test('F3: a second one, a moment later, ends a draining sidecar at once and says so', async () => {
    const mesh = await startMesh();
    const app = await startApp(60_000);
    const files = await mesh.join('files', { app: app.address, flags: ['--drain', '30s'] });
    const web = await mesh.join('web');
    void mesh.status(web, '/').catch(() => 0);
    await wait(500);
    files.signal('SIGTERM');
    await wait(700);
    const begun = performance.now();
    const { code, stderr } = await files.stop('SIGTERM');
    expect([code, performance.now() - begun < 2_000]).toEqual([1, true]);
    expect(stderr).toContain('stopped by force');
  }, 60_000);

  test('F3: a server under load ends with 0, every change that it acknowledged is there, and proxies go on', async () => {
    const mesh = await startMesh();
    const app = await startApp(1);
    await mesh.join('files', { app: app.address });
    const web = await mesh.join('web');
    await untilAllowed(mesh, web);
    const load = startLoad({
      to: parseHostPort(web.ready.outbound!)!,
      url: 'http://files/',
      perSecond: 100,
      connections: 8,
    });
    const { admin, close } = openClients(mesh.home, mesh.server.ready.url!);
    onTestFinished(close);
    const made: string[] = [];
    const refused: string[] = [];
    const asking = (async () => {
      for (let n = 0; refused.length === 0; n++) {
        const body = { version: 1, service: `svc-${n}` };
        await admin.call<{ id: string }>({ method: 'POST', path: '/v1/tokens', body }).then(
          ({ id }) => made.push(id),
          (thrown: { code: string }) => refused.push(thrown.code),
        );
      }
    })();
    await eventually(
      () => made.length,
      (count) => count > 5,
    );
    const { code } = await mesh.server.stop();
    expect(code).toBe(0);
    await asking;
    expect(['SERVER_STOPPING', 'CONTROL_UNREACHABLE']).toContain(refused[0]);
    await wait(300);
    const { sent, ok, failures } = await load.stop();
    expect([failures, ok]).toEqual([[], sent]);
    const again = await startProcess(['server', '--home', mesh.home, '--listen', '127.0.0.1:0']);
    const later = openClients(mesh.home, again.ready.url!);
    const { tokens } = await later.admin.call<{ tokens: { id: string }[] }>({ method: 'GET', path: '/v1/tokens' });
    const kept = new Set(tokens.map(({ id }) => id));
    expect(made.filter((id) => !kept.has(id))).toEqual([]);
    later.close();
    await again.stop();
  }, 60_000);
});

test('F3: SIGHUP stops nothing, neither server nor sidecar, and says why it does nothing', async () => {
  const mesh = await startMesh();
  const app = await startApp(1);
  const files = await mesh.join('files', { app: app.address });
  const web = await mesh.join('web');
  await untilAllowed(mesh, web);
  for (const one of [mesh.server, files, web]) {
    one.signal('SIGHUP');
    await eventually(
      () => one.said(),
      (said) => said.includes('SIGHUP: nothing to reload'),
    );
  }
  expect(await mesh.status(web, '/')).toBe(200);
});

test('F3: stopped for seconds (SIGSTOP) and let go on, server and sidecars serve, follow and end as if nothing had been', async () => {
  const mesh = await startMesh();
  const app = await startApp(1);
  const files = await mesh.join('files', { app: app.address });
  const web = await mesh.join('web');
  await untilAllowed(mesh, web);
  for (const one of [mesh.server, files]) one.signal('SIGSTOP');
  const asked = mesh.status(web, '/');
  await wait(4_000);
  for (const one of [mesh.server, files]) one.signal('SIGCONT');
  expect(await asked).toBe(200);
  const { admin, close } = openClients(mesh.home, mesh.server.ready.url!);
  onTestFinished(close);
  await admin.call({ method: 'DELETE', path: '/v1/resources/Policy/p' });
  await eventually(
    () => mesh.status(web, '/'),
    (status) => status === 403,
  );
  for (const one of [web, files, mesh.server]) expect((await one.stop()).code).toBe(0);
}, 60_000);

describe('F5', () => {
  test('F5: a server whose port is taken says so, and its home is free again', async () => {
    const home = temporaryFolder();
    await initHome(home);
    const taken = createTcp();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const listen = `127.0.0.1:${(taken.address() as AddressInfo).port}`;
    const { code, stderr } = await runPostern(['server', '--home', home, '--listen', listen]);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/^error: .*another program listens there.*\nhint: /s)]);
    taken.close();
    const server = await startProcess(['server', '--home', home, '--listen', listen]);
    expect((await server.stop()).code).toBe(0);
  });

  test('F5: without HOME everything works with --home', async () => {
    const home = temporaryFolder();
    const env = { HOME: undefined, NODE_COMPILE_CACHE: undefined };
    expect((await runPostern(['ca', 'init', '--trust-domain', 'a.example', '--home', home], { env })).code).toBe(0);
    const server = await startProcess(['server', '--home', home, '--listen', '127.0.0.1:0'], { env });
    expect((await server.stop()).code).toBe(0);
  });

  // A user whom the system does not know either; only root can become one.
  test.runIf(process.getuid?.() === 0)('F5: without any home a command says what to do', async () => {
    const env = { HOME: undefined, NODE_COMPILE_CACHE: undefined };
    const { code, stderr } = await runPostern(['ca', 'init', '--trust-domain', 'a.example'], { env, uid: 54_321 });
    expect([code, stderr]).toEqual([2, expect.stringMatching(/^error: .* \[CONFIG_NO_HOME\]\nhint: .*--home/)]);
  });

  test.each([
    { LANG: 'tr_TR.UTF-8', LC_ALL: 'tr_TR.UTF-8', TZ: 'Asia/Kathmandu' },
    { LANG: 'nonsense', LC_ALL: 'zz_ZZ.latin-99', TZ: 'Nowhere/Nothing' },
    { LANG: '', LC_ALL: 'C', TZ: ':/dev/null' },
  ])(
    'F5: locale %j: certificates, times and records are as everywhere',
    async (env) => {
      const home = temporaryFolder();
      await runPostern(['ca', 'init', '--trust-domain', 'example.org', '--home', home], { env });
      const server = await startProcess(['server', '--home', home, '--listen', '127.0.0.1:0'], { env });
      onTestFinished(async () => void (await server.stop('SIGKILL')));
      const token = await runPostern(['token', 'create', 'INDIGO/web', '--home', home, '-q'], { env });
      const words = ['sidecar', '--home', temporaryFolder(), '--token', token.stdout.trim(), ...anyPorts];
      const sidecar = await startProcess(words, { env });
      expect(sidecar.ready.service).toBe('spiffe://example.org/INDIGO/web');
      const { stdout } = await runPostern(['audit', 'query', '--events', '--home', home, '-o', 'json'], { env });
      const { events } = JSON.parse(stdout) as { events: { time: string; action: string }[] };
      for (const { time } of events) expect(Math.abs(Date.parse(time) - Date.now())).toBeLessThan(60_000);
      expect(events.map(({ action }) => action)).toContain('enrol');
      for (const one of [sidecar, server]) expect((await one.stop()).code).toBe(0);
    },
    30_000,
  );

  test('F5: what a killed server and a killed sidecar leave behind keeps nobody from starting, and nobody is misled by it', async () => {
    const mesh = await startMesh();
    const home = temporaryFolder();
    const { stdout } = await runPostern(['token', 'create', 'web', '--home', mesh.home, '-q']);
    const words = ['sidecar', '--home', home, ...anyPorts];
    const sidecar = await startProcess([...words, '--token', stdout.trim()]);
    for (const one of [sidecar, mesh.server]) await one.stop('SIGKILL');
    const { host, port } = parseHostPort(new URL(mesh.server.ready.url!).host)!;
    await new Promise((resolve) => connect({ host, port }).once('error', resolve));
    const status = await runPostern(['status', '--home', mesh.home]);
    expect([status.code, status.stderr]).toEqual([5, expect.stringMatching(/CONTROL_UNREACHABLE\]\nhint: /)]);
    const server = await startProcess(['server', '--home', mesh.home, '--listen', `${host}:${port}`]);
    const again = await startProcess(words);
    expect(again.ready).toMatchObject({ instance: sidecar.ready.instance, service: sidecar.ready.service });
    await eventually(
      () => runPostern(['status', '--home', mesh.home]),
      (shown) => shown.stdout.includes('synced'),
    );
    for (const one of [again, server]) expect((await one.stop()).code).toBe(0);
  }, 30_000);
});

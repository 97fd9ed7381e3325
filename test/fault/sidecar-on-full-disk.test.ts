import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createRecordLog } from '#audit';
import { systemClock } from '#base/clock';
import { silentLog } from '#base/log';
import type { DecisionRecord, IdentityStatus } from '#wire';
import { anyPorts } from '../../cli/demo/processes.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { canFillDisk, emptyDisk, fillDisk } from '../helpers/limits.ts';
import { runPostern } from '../helpers/postern.ts';
import { initHome, openClients, startProcess } from '../helpers/processes.ts';
import { eventually } from '../helpers/until.ts';

const child = fileURLToPath(new URL('./record-log-full-child.ts', import.meta.url));

describe.runIf(canFillDisk)('the disk beside a sidecar is full', () => {
  test('C12, L4: traffic goes on past the end of the certificate that the disk holds, no record is lost, and a restart is possible afterwards', async () => {
    const home = temporaryFolder();
    await initHome(home, '--svid-ttl', '5s', '--backdate', '1s');
    const server = await startProcess(['server', '--home', home, '--listen', '127.0.0.1:0']);
    onTestFinished(async () => void (await server.stop('SIGKILL')));
    const { admin, close } = openClients(home, server.ready.url!);
    onTestFinished(close);
    const rules = [{ id: 'r', effect: 'allow', from: ['web'] }];
    const resources = [{ resource: { kind: 'Policy', name: 'p', to: 'web', rules } }];
    await admin.call({ method: 'POST', path: '/v1/resources', body: { version: 1, resources } });
    const app = createServer((_, answer) => answer.end('ok\n'));
    await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void app.close());
    const { token } = await admin.call<{ token: string }>({
      method: 'POST',
      path: '/v1/tokens',
      body: { version: 1, service: 'web' },
    });
    const own = temporaryFolder();
    const words = ['sidecar', '--home', own, ...anyPorts, '--app', `127.0.0.1:${(app.address() as AddressInfo).port}`];

    // Not even a start is possible at first, and it says which file; the token is good afterwards.
    const refused = await runPostern([...words, '--token', token], { shell: 'ulimit -S -f 0' });
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringMatching(/^error: \S+sidecar\S+ cannot be written: .+ \[FILE_UNWRITABLE\]\nhint: check free space/),
    ]);
    const sidecar = await startProcess([...words, '--token', token]);
    onTestFinished(async () => void (await sidecar.stop('SIGKILL')));
    let asked = 0;
    const status = (): Promise<number> =>
      new Promise((resolve) => {
        asked++;
        const headers = { host: 'web' };
        request(`http://${sidecar.ready.outbound}/n/${asked}`, { headers, agent: false }, (answer) =>
          answer.resume().on('end', () => resolve(answer.statusCode ?? 0)),
        )
          .on('error', () => resolve(0))
          .end();
      });
    await eventually(status, (answer) => answer === 200);
    fillDisk(sidecar.pid);
    const onDisk = readFileSync(join(own, 'sidecar', 'svid.pem'), 'utf8');
    const end = performance.now() + 8_000;
    const answers = new Set<number>();
    while (performance.now() < end) {
      answers.add(await status());
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect([...answers]).toEqual([200]);
    expect(readFileSync(join(own, 'sidecar', 'svid.pem'), 'utf8')).toBe(onDisk);
    expect(sidecar.said()).toContain('could not be kept on disk');
    expect(sidecar.said()).not.toMatch(/\n +at |node:internal/);
    emptyDisk(sidecar.pid);
    await eventually(
      () => readFileSync(join(own, 'sidecar', 'svid.pem'), 'utf8'),
      (text) => text !== onDisk,
    );
    // Both hops of every call arrive at the control plane.
    const last = asked;
    const records = await eventually(
      async () =>
        (await admin.call<{ records: DecisionRecord[] }>({ method: 'GET', path: '/v1/records?limit=10000' })).records,
      (found) => found.some(({ path, hop }) => path === `/n/${last}` && hop === 'outbound'),
    );
    const paths = new Set(records.filter(({ hop }) => hop === 'outbound').map(({ path }) => path));
    const missing = Array.from({ length: last }, (_, n) => `/n/${n + 1}`).filter((path) => !paths.has(path));
    expect([missing, records.filter(({ kind }) => kind === 'gap')]).toEqual([[], []]);
    expect((await sidecar.stop()).code).toBe(0);
    const again = await startProcess(words);
    const { identities } = await admin.call<{ identities: IdentityStatus[] }>({
      method: 'GET',
      path: '/v1/identities',
    });
    expect(identities.find(({ id }) => id.endsWith('/web'))?.instances).toBe(1);
    expect((await again.stop()).code).toBe(0);
  }, 60_000);

  test('L4: more records than the queue holds while the disk is full: a gap record for every one that is missing, never silence', async () => {
    const folder = temporaryFolder();
    const writer = spawn(process.execPath, [child, folder], { stdio: ['pipe', 'pipe', 'inherit'] });
    onTestFinished(() => void writer.kill('SIGKILL'));
    let told = { lost: 0, queued: 0, lastSeq: 0 };
    createInterface({ input: writer.stdout }).on('line', (line) => {
      told = JSON.parse(line) as typeof told;
    });
    await eventually(
      () => told.lastSeq,
      (seq) => seq > 400,
    );
    fillDisk(writer.pid!);
    await eventually(
      () => told.lost,
      (lost) => lost > 300,
    );
    emptyDisk(writer.pid!);
    const { lastSeq } = told;
    await eventually(
      () => told,
      ({ queued, lastSeq: now }) => queued < 200 && now > lastSeq + 400,
    );
    const ended = new Promise((resolve) => writer.on('close', resolve));
    writer.stdin.end();
    expect(await ended).toBe(0);

    const log = createRecordLog({ folder, clock: systemClock, log: silentLog });
    const records: DecisionRecord[] = [];
    for (let part = await log.read(1, 5_000); part.length > 0; part = await log.read(records.at(-1)!.seq + 1, 5_000))
      records.push(...part);
    await log.close();
    const gaps = records.filter(({ kind }) => kind === 'gap');
    const present = new Set(records.map(({ seq }) => seq));
    const isDeclared = (seq: number): boolean =>
      gaps.some(({ lost, lostFrom }) => seq >= lostFrom! && seq < lostFrom! + lost!);
    const missing = Array.from({ length: records.at(-1)!.seq }, (_, n) => n + 1).filter((seq) => !present.has(seq));
    expect(missing.length).toBe(told.lost);
    expect(missing.filter((seq) => !isDeclared(seq))).toEqual([]);
    expect(new Set(gaps.map(({ reason }) => reason))).toEqual(new Set(['AUDIT_QUEUE_FULL']));
  }, 60_000);
});

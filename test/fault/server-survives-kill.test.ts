import { randomInt } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import type { ControlEvent, IdentityStatus, LocatedResource } from '#wire';
import { enrolment, newKey } from '../helpers/control-plane.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { createLedger, enrol, type Ledger, makeLoad } from '../helpers/ledger.ts';
import { type Outcome, runPostern } from '../helpers/postern.ts';
import { type Clients, EndedEarly, initHome, openClients, type Process, startProcess } from '../helpers/processes.ts';

/** More of them with POSTERN_KILLS=200 `vitest run test/fault/server-survives-kill`. */
const kills = Number(process.env.POSTERN_KILLS ?? 14);
const preload = fileURLToPath(new URL('../helpers/kill-at-write.ts', import.meta.url));

test(
  'C3, C13: kill -9 at chosen and random moments under load: no serial or token twice, nothing acknowledged is lost',
  async () => {
    const home = temporaryFolder();
    await initHome(home);
    const ledger = createLedger();
    const begun = { starting: 0, serving: 0 };
    for (let round = 0; round < kills; round++) {
      // Steps of writing from the first of a start to well into the load, spread over all rounds; and moments that nobody chose.
      const at = round % 2 === 0 ? 1 + Math.floor((round * 160) / kills) : 0;
      const server = await startKillable(home, at).catch((thrown: unknown) => {
        if (!(thrown instanceof EndedEarly) || thrown.outcome.signal !== 'SIGKILL') throw thrown;
        begun.starting++;
      });
      if (server) await loadUntilKilled(ledger, { home, server, round });
      if (server) begun.serving++;
      await check(ledger, home, round);
    }
    expect(begun.serving).toBeGreaterThan(kills / 4);
    expect(begun.starting).toBeGreaterThan(0);
    expect(ledger.certificates.length).toBeGreaterThan(kills);
    await checkList(ledger, home);
  },
  30_000 + kills * 15_000,
);

async function startKillable(home: string, at: number): Promise<Process> {
  const args = at === 0 ? [] : ['--import', `file://${preload}?at=${at}`];
  const server = await startProcess(['server', '--home', home, '--listen', '127.0.0.1:0'], { args });
  onTestFinished(() => server.signal('SIGKILL'));
  return server;
}

async function loadUntilKilled(
  ledger: Ledger,
  { home, server, round }: { home: string; server: Process; round: number },
): Promise<void> {
  const clients = openClients(home, server.ready.url!);
  const load = makeLoad(ledger, clients, round);
  // A step that the load never reaches is a random moment too.
  const isOver = await Promise.race([server.outcome, wait(round % 2 === 0 ? 3_000 : randomInt(20, 800))]);
  if (!isOver) server.signal('SIGKILL');
  expect((await server.outcome).signal).toBe('SIGKILL');
  await load;
  clients.close();
}

/** Starts the server on what the killed one left, compares, and lets whoever got no answer ask again. */
async function check(ledger: Ledger, home: string, round: number): Promise<void> {
  const server = await startKillable(home, 0);
  const clients = openClients(home, server.ready.url!);
  compareWithDatabase(ledger, home);
  await compareWithAnswers(ledger, clients);
  await askAgain(ledger, clients);
  compareWithDatabase(ledger, home);
  expect(ledger.wrong).toEqual([]);
  clients.close();
  // In turn the next one starts on what a stopped and on what a killed server left.
  const outcome = await server.stop(round % 2 === 0 ? 'SIGTERM' : 'SIGKILL');
  if (round % 2 === 0) expect([outcome.code, outcome.signal]).toEqual([0, null]);
  expect(outcome.stderr).not.toMatch(/\n +at |"level":"error"/);
}

function compareWithDatabase(ledger: Ledger, home: string): void {
  const sql = new DatabaseSync(join(home, 'postern.db'), { readOnly: true });
  const all = (query: string) => sql.prepare(query).all();
  expect(all('PRAGMA integrity_check')).toEqual([{ integrity_check: 'ok' }]);
  const issued = new Map(
    all('SELECT serial, id, instance, certificate FROM issued').map((row) => [String(row.serial), row]),
  );
  const acknowledged = ledger.certificates.map(({ serial }) => serial);
  expect(new Set(acknowledged).size).toBe(acknowledged.length);
  for (const { serial, id, instance, leaf } of ledger.certificates) {
    expect(issued.get(serial)).toMatchObject({ id, instance });
    expect(Buffer.compare(issued.get(serial)!.certificate as Uint8Array, leaf)).toBe(0);
  }
  // Each instance of a service came in with a token of its own.
  const instances = new Set(
    [...issued.values()]
      .filter(({ id }) => !String(id).startsWith('spiffe://example.org/postern/'))
      .map(({ instance }) => String(instance)),
  );
  const used = all('SELECT instance, serial FROM token WHERE used_at IS NOT NULL');
  expect(used.map(({ instance }) => String(instance)).sort()).toEqual([...instances].sort());
  for (const { serial, instance } of used) expect(issued.get(String(serial))).toMatchObject({ instance });
  sql.close();
  const audit = new DatabaseSync(join(home, 'audit.db'), { readOnly: true });
  expect(audit.prepare('PRAGMA integrity_check').all()).toEqual([{ integrity_check: 'ok' }]);
  audit.close();
}

async function compareWithAnswers(ledger: Ledger, { admin }: Clients): Promise<void> {
  const { bans } = await admin.call<{ bans: { id?: string; serial?: string }[] }>({ method: 'GET', path: '/v1/bans' });
  const shut = new Set(bans.map(({ id, serial }) => id ?? serial));
  expect(ledger.bans.filter(({ id, serial }) => !shut.has((id ?? serial)!))).toEqual([]);
  const { resources } = await admin.call<{ resources: LocatedResource[] }>({ method: 'GET', path: '/v1/resources' });
  const { revision } = await admin.call<{ revision: number }>({ method: 'GET', path: '/v1/policy' });
  expect(revision).toBeGreaterThanOrEqual(ledger.policies.at(-1)?.revision ?? 0);
  expect(new Set(ledger.policies.map((one) => one.revision)).size).toBe(ledger.policies.length);
  for (const name of new Set(ledger.policies.map((one) => one.name))) {
    const last = ledger.policies.findLast((one) => one.name === name)!;
    const kept = JSON.stringify(resources.find(({ resource }) => resource.name === name));
    // A later one may have been kept without its sender having heard of it.
    const [round = 0, n = 0] = (/"\/(\d+)\/(\d+)"/.exec(kept) ?? []).slice(1).map(Number);
    const [lastRound = 0, lastN = 0] = last.paths.slice(1).split('/').map(Number);
    expect([round, n].join('/')).toMatch(
      round === lastRound ? new RegExp(`^${lastRound}/(${lastN}|${lastN + 4})$`) : /./,
    );
    expect(round).toBeGreaterThanOrEqual(lastRound);
  }
  const path = (action: string) => `/v1/events?action=${action}&limit=10000` as const;
  const told = await Promise.all(
    ['enrol', 'renew'].map((action) => admin.call<{ events: ControlEvent[] }>({ method: 'GET', path: path(action) })),
  );
  const recorded = new Set(told.flatMap(({ events }) => events.map(({ details }) => details?.serial)));
  expect(ledger.certificates.filter(({ serial }) => !recorded.has(serial))).toEqual([]);
}

/** Whoever got no answer gets a certificate now; who had one gets the same; nobody else gets anything for a used token. */
async function askAgain(ledger: Ledger, clients: Clients): Promise<void> {
  const unanswered = ledger.enrolled.filter(({ identity }) => identity === undefined);
  const answered = ledger.enrolled.filter(({ identity, isBanAsked }) => identity && !isBanAsked).slice(-4);
  for (const entry of [...unanswered, ...answered]) {
    await enrol(ledger, clients, entry);
    const { status, body } = await clients.ask(enrolment({ token: entry.token, key: newKey() }));
    expect([status, body.error?.code]).toEqual([401, 'TOKEN_USED']);
  }
}

/** `identity list` shows what was handed out. */
async function checkList(ledger: Ledger, home: string): Promise<void> {
  const server = await startKillable(home, 0);
  const { stdout }: Outcome = await runPostern(['identity', 'list', '-o', 'json', '--home', home]);
  const { identities } = JSON.parse(stdout) as { identities: IdentityStatus[] };
  const shown = new Set(identities.flatMap(({ certificates }) => certificates.map(({ serial }) => serial)));
  // The newest fifty of each identity are shown.
  const full = new Set(identities.filter(({ certificates }) => certificates.length >= 50).map(({ id }) => id));
  expect(ledger.certificates.filter(({ serial, id }) => !full.has(id) && !shown.has(serial))).toEqual([]);
  expect(readdirSync(join(home, 'ca')).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  expect((await server.stop()).code).toBe(0);
}

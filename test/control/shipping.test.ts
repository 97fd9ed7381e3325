// Decisions handed on by the server itself: everything arrives, in order, however long the receiver was away, and over a restart of the server.
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { openRecordStore } from '#audit';
import { systemClock } from '#base/clock';
import { silentLog } from '#base/log';
import { serverConfig } from '#config';
import { type Destination, startShipping } from '../../control/shipping.ts';
import { createClock } from '../helpers/clock.ts';
import { temporaryFolder } from '../helpers/folder.ts';
import { sentRecord } from '../helpers/record.ts';
import { eventually } from '../helpers/until.ts';

function storeIn(home: string) {
  const store = openRecordStore({ path: join(home, 'audit.db'), clock: createClock() });
  onTestFinished(() => store.close());
  return store;
}

interface Receiver {
  readonly server: Server;
  readonly to: string;
  readonly seqs: number[];
  answer: number;
  readonly headers: (string | undefined)[];
}

async function startReceiver(port = 0): Promise<Receiver> {
  const seqs: number[] = [];
  const headers: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (part: Buffer) => {
      text += part.toString();
    });
    request.on('end', () => {
      headers.push(request.headers.authorization);
      if (receiver.answer === 200) {
        for (const found of text.matchAll(/"key":"postern\.seq","value":\{"intValue":"(\d+)"/g))
          seqs.push(Number(found[1]));
      }
      response.writeHead(receiver.answer).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const receiver = {
    server,
    to: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seqs,
    headers,
    answer: 200,
  };
  return receiver;
}

function start(home: string, store: ReturnType<typeof storeIn>, ...destinations: Destination[]) {
  const shipped: Record<string, number> = {};
  const clock = {
    ...systemClock,
    // Waits of minutes are a few milliseconds here.
    after: (ms: number, work: () => void) => systemClock.after(Math.min(ms, 5), work),
  };
  const shipping = startShipping({
    ...{ home, destinations, records: store, clock, log: silentLog, random: () => 0.5 },
    onShipped: (name, count) => {
      shipped[name] = (shipped[name] ?? 0) + count;
    },
  });
  onTestFinished(() => shipping.close());
  return { shipping, shipped };
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, at) => at + 1);

test('a receiver that is away gets everything afterwards, once and in order; another destination does not wait for it', async () => {
  const home = temporaryFolder();
  const store = storeIn(home);
  const receiver = await startReceiver();
  receiver.answer = 503;
  const file = join(home, 'out.jsonl');
  const { shipping, shipped } = start(
    home,
    store,
    { name: 'siem', to: receiver.to, format: 'jsonl', headers: { authorization: 'Bearer secret' } },
    { name: 'archive', to: `file:${file}`, format: 'jsonl', headers: {} },
  );
  for (let part = 0; part < 7; part++)
    store.add(
      'i-1',
      numbers(200).map((n) => sentRecord(part * 200 + n)),
    );
  await eventually(() => shipped.archive === 1_400 && shipping.inTrouble === 1, Boolean, { everyMs: 10 });
  expect([receiver.seqs, shipped.siem]).toEqual([[], undefined]);
  receiver.answer = 200;
  store.add('i-1', [sentRecord(1_401)]);
  await eventually(() => shipped.siem === 1_401 && shipping.inTrouble === 0, Boolean, { everyMs: 10 });
  expect(receiver.seqs).toEqual(numbers(1_401));
  expect(new Set(receiver.headers)).toEqual(new Set(['Bearer secret']));
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  expect(lines.map((line) => (JSON.parse(line) as { seq: number }).seq)).toEqual(numbers(1_401));
});

test('a server that starts again goes on where it was', async () => {
  const home = temporaryFolder();
  const store = storeIn(home);
  const receiver = await startReceiver();
  const destination = { name: 'siem', to: receiver.to, format: 'jsonl', headers: {} } as const;
  store.add(
    'i-1',
    numbers(3).map((n) => sentRecord(n)),
  );
  const first = start(home, store, destination);
  await eventually(() => first.shipped.siem === 3, Boolean, { everyMs: 10 });
  first.shipping.close();
  store.add('i-1', [sentRecord(4)]);
  const second = start(home, store, destination);
  await eventually(() => second.shipped.siem === 1, Boolean, { everyMs: 10 });
  expect(receiver.seqs).toEqual([1, 2, 3, 4]);
});

test('the settings name destinations, and hide the headers that open them', () => {
  const read = (flags: Record<string, unknown>) => serverConfig({ flags, env: {} });
  const config = read({
    ship: ['siem=https://collector:4318', 'archive=file:/var/log/x'],
    shipFormat: ['archive=ecs'],
    shipHeader: ['siem=authorization: Bearer secret'],
  });
  expect(config).toMatchObject({ ship: { archive: 'file:/var/log/x' }, shipFormat: { archive: 'ecs' } });
  expect(JSON.stringify(config)).not.toContain('secret');
  const problemsOf = (flags: Record<string, unknown>): string => {
    try {
      read(flags);
      return '';
    } catch (thrown) {
      return JSON.stringify((thrown as { problems?: unknown }).problems);
    }
  };
  expect(problemsOf({ ship: ['a=file:x.jsonl'] })).toContain('absolute path');
  expect(problemsOf({ ship: ['a=ftp://x'] })).toContain('http or https');
  expect(problemsOf({ ship: ['../a=file:/x'] })).toContain('letters, digits');
  expect(problemsOf({ shipFormat: ['a=ecs'] })).toContain('nothing is shipped');
  expect(problemsOf({ ship: ['a=file:/x'], shipHeader: ['a=x'] })).toContain('HEADER: VALUE');
});

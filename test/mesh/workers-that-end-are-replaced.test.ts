// A thread that ends, hangs or differs is replaced: the others lose nothing, nothing is lost unsaid, and a thread that ends again and again waits longer.
import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { type Clock, systemClock } from '#base/clock';
import { PosternError } from '#base/error';
import { slot, type ToWorker } from '../../proxy/worker-messages.ts';
import { allow, openRaw } from '../helpers/mesh.ts';
import { open, request, startWorkers, type Workers } from '../helpers/workers.ts';

/** What takes ten seconds takes one; not less, or a thread that is only slow to start would pass for one that hangs. */
const hasty: Clock = { ...systemClock, after: (ms, run) => systemClock.after(ms / 10, run) };

const isServing = ({ described }: Workers, restarts: number): Promise<void> =>
  expect
    .poll(() => described()[1], { timeout: 20_000 })
    .toMatchObject({ isListening: true, restarts }) as Promise<void>;
/** What each of so many new connections is answered, be it good or bad. */
async function answers(port: number, count: number): Promise<string[]> {
  const clients = await Promise.all(Array.from({ length: count }, () => openRaw(port)));
  for (const client of clients) client.send(request);
  return Promise.all(clients.map((client) => client.until(/hello|\}\n/)));
}
const numbersOf = ({ started }: Workers, nth = 0): Int32Array => new Int32Array(started[nth]!.start.shared);

describe('a thread that', () => {
  test('F4: ends is replaced, the others lose nothing, and what it counted stays counted', async () => {
    const workers = await startWorkers();
    const { addresses, started, metrics, plane, logged } = workers;
    const clients = await open(addresses.outbound.port, 40);
    await plane.gather!();
    await started[0]!.worker.terminate();
    const isKept = await Promise.all(
      clients.map((client) => {
        client.send(request);
        return client.until(/hello[\s\S]*hello/).then(
          () => true,
          () => false,
        );
      }),
    );
    expect(isKept).toContain(true);
    expect(isKept).toContain(false);
    await isServing(workers, 1);
    await open(addresses.outbound.port, 40);
    await plane.gather!();
    expect(workers.described()[1]!.outbound).toBeGreaterThan(0);
    expect(metrics.render()).toContain('postern_worker_restarts_total 1\n');
    const answered = 80 + isKept.filter(Boolean).length;
    expect(metrics.render()).toContain(`decision="allow",status="2xx"} ${answered}\n`);
    expect(logged).toContainEqual(expect.objectContaining({ level: 'error', worker: 1, reason: 'it was ended' }));
  });

  test('has a fault before it has ever listened fails the start, with the reason and nothing left open', async () => {
    const starting = startWorkers({
      onThread: (worker) => {
        void worker.terminate();
        return new Worker('throw new Error("broken")', { eval: true });
      },
    });
    await expect(starting).rejects.toMatchObject({
      code: 'PROXY_LISTEN_FAILED',
      message: expect.stringContaining('broken'),
    });
  });

  test('has a fault later says which, and is replaced', async () => {
    const workers = await startWorkers({ clock: hasty });
    workers.started[0]!.worker.postMessage({ type: 'identity', key: undefined, chain: [] });
    await isServing(workers, 1);
    const reason = expect.stringContaining('0 certificates');
    expect(workers.logged).toContainEqual(expect.objectContaining({ worker: 1, reason }));
  });

  test('ends again and again waits longer each time, and serves when it can', async () => {
    const broken = (nth: number) => nth >= 2 && nth < 6;
    const workers = await startWorkers({
      clock: hasty,
      random: () => 0.999_999,
      onThread: (worker, nth) => {
        if (!broken(nth)) return undefined;
        void worker.terminate();
        return new Worker('throw new Error("broken")', { eval: true });
      },
    });
    await workers.started[0]!.worker.terminate();
    await isServing(workers, 5);
    const waits = workers.logged.flatMap(({ worker, ms }) => (worker === 1 && ms !== undefined ? [ms] : []));
    expect(waits).toEqual([100, 200, 400, 800, 1_600]);
    expect(workers.logged).toContainEqual(expect.objectContaining({ reason: 'broken' }));
  });

  test('does not answer any more is replaced', async () => {
    const workers = await startWorkers({
      clock: hasty,
      onThread: (worker, nth) => {
        if (nth > 0) return undefined;
        const post = worker.postMessage.bind(worker);
        worker.postMessage = (message: ToWorker) => {
          if (message.type !== 'look') post(message);
        };
        return worker;
      },
    });
    await isServing(workers, 1);
    expect(workers.logged).toContainEqual(expect.objectContaining({ reason: 'it does not answer any more' }));
  });

  test('refuses what the others have taken is replaced by one that has taken it', async () => {
    const workers = await startWorkers({
      onThread: (worker, nth) => {
        if (nth > 0) return undefined;
        const post = worker.postMessage.bind(worker);
        worker.postMessage = (message: ToWorker) =>
          post(
            message.type === 'snapshot'
              ? { ...message, told: { ...message.told, rest: { ...message.told.rest, bundle: 'x' } } }
              : message,
          );
        return worker;
      },
    });
    const clients = await open(workers.addresses.outbound.port, 40);
    await workers.apply({ policy: { revision: 3, rules: [], groups: {} } });
    // Nobody is served by the policy of before: whoever had a connection there has none.
    for (const client of clients) client.send(request);
    const texts = await Promise.all(clients.map((client) => client.until(/ 403 /).catch(() => client.closed())));
    for (const text of texts) expect(text.match(/hello/g)).toHaveLength(1);
    await isServing(workers, 1);
    for (const text of await answers(workers.addresses.outbound.port, 40)) expect(text).toContain(' 403 ');
  });

  test('begins while a policy is being built begins with both: what is in force, and what will be', async () => {
    const workers = await startWorkers();
    const { addresses, apply, started } = workers;
    // Long enough to be built in turns, while the thread comes back.
    const rules = Array.from({ length: 30_000 }, (_, nth) => allow(`caller-${nth}`, 'web'));
    const applied = apply({ policy: { revision: 3, rules, groups: {} } });
    await started[0]!.worker.terminate();
    await applied;
    await isServing(workers, 1);
    await expect
      .poll(
        async () => {
          const texts = await answers(addresses.outbound.port, 20);
          return texts.every((text) => text.includes(' 403 '));
        },
        { timeout: 10_000 },
      )
      .toBe(true);
    expect(workers.described().map(({ restarts }) => restarts)).toEqual([0, 1, 0]);
  });
});

describe('records', () => {
  test('that end with their thread are counted as lost', async () => {
    const workers = await startWorkers();
    // Made there, and not handed over.
    Atomics.add(numbersOf(workers), slot.made, 3);
    await workers.started[0]!.worker.terminate();
    await isServing(workers, 1);
    expect(workers.lost).toEqual([[3, 'AUDIT_THREAD_ENDED']]);
  });

  test('of a thread that makes more than the main one can take are lost and counted, or requests are refused', async () => {
    const full = (workers: Workers): void => {
      for (const nth of [0, 1]) Atomics.add(numbersOf(workers, nth), slot.made, 8_192);
    };
    const counting = await startWorkers();
    full(counting);
    await open(counting.addresses.outbound.port, 40);
    const gone = (): number => counting.lost.reduce((sum, [count]) => sum + count, 0);
    await expect.poll(() => counting.records.length + gone(), { timeout: 10_000 }).toBe(40);
    expect(gone()).toBeGreaterThan(0);
    expect(new Set(counting.lost.map(([, reason]) => reason))).toEqual(new Set(['AUDIT_QUEUE_FULL']));
    const spec = { message: 'it is full', status: 503, retryable: true };
    const blocking = await startWorkers({ blocked: () => new PosternError('AUDIT_BLOCKED', spec, {}) });
    full(blocking);
    const texts = await answers(blocking.addresses.outbound.port, 40);
    expect(texts.filter((text) => /503[\s\S]*AUDIT_BLOCKED/.test(text)).length).toBeGreaterThan(0);
    expect(texts.filter((text) => text.includes('hello')).length).toBeGreaterThan(0);
  });

  test('that cannot be written stop every thread, with the same words', async () => {
    const { addresses, plane, described, setRecording } = await startWorkers();
    const clients = await open(addresses.outbound.port, 40);
    await plane.gather!();
    const all = (words: string) =>
      expect
        .poll(async () => (await answers(addresses.outbound.port, 12)).every((text) => text.includes(words)), {
          timeout: 10_000,
        })
        .toBe(true);
    setRecording(false);
    await all('PROXY_FAULT');
    for (const client of clients) client.send(request);
    for (const client of clients) await client.until(/hello[\s\S]* 500 [\s\S]*\}\n/);
    expect(described().map(({ restarts }) => restarts)).toEqual([0, 0, 0]);
    setRecording(true);
    await all('hello');
  });
});

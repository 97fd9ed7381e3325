// Our exposition text is, byte for byte, what prom-client renders for the same values.
import fc from 'fast-check';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { createMetrics } from '#base/metrics';

const help = 'What it counts.';

/** prom-client ends blocks with blank lines and leaves no trailing one; the lines are what a scraper reads. */
const linesOf = (text: string): string[] => text.split('\n').filter((line) => line !== '');

const label = fc.oneof(fc.string({ maxLength: 8 }), fc.constantFrom('a"b', 'back\\slash', 'line\nfeed', '', 'ü'));
const value = fc.oneof(fc.nat(), fc.double({ noNaN: true, noDefaultInfinity: true, min: 0 }));

test('counters, gauges and histograms render as prom-client renders them', async () => {
  const samples = fc.array(fc.tuple(label, label, value), { minLength: 1, maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(samples, async (rows) => {
      const ours = createMetrics();
      const registry = new Registry();
      const labels = ['method', 'code'] as const;
      const ourCounter = ours.counter({ name: 'a_total', help, labels });
      const ourGauge = ours.gauge({ name: 'b', help, labels });
      const ourHistogram = ours.histogram({ name: 'c_seconds', help, labels, buckets: [0.1, 1, 10] });
      const theirCounter = new Counter({ name: 'a_total', help, labelNames: [...labels], registers: [registry] });
      const theirGauge = new Gauge({ name: 'b', help, labelNames: [...labels], registers: [registry] });
      const theirHistogram = new Histogram({
        name: 'c_seconds',
        help,
        labelNames: [...labels],
        buckets: [0.1, 1, 10],
        registers: [registry],
      });
      for (const [method, code, amount] of rows) {
        ourCounter(method, code).value += amount;
        theirCounter.inc({ method, code }, amount);
        ourGauge(method, code).value = amount;
        theirGauge.set({ method, code }, amount);
        ourHistogram(method, code).observe(amount);
        theirHistogram.observe({ method, code }, amount);
      }
      const theirs = linesOf(await registry.metrics()).map(sortLabels);
      expect(linesOf(ours.render()).map(sortLabels)).toEqual(theirs);
    }),
    { numRuns: 200 },
  );
});

/** The order of labels within a line means nothing: prom-client puts `le` first, we put it last. */
function sortLabels(line: string): string {
  const found = /^([a-z_]+)\{(.*)\} (\S+)$/.exec(line);
  if (!found) return line;
  const pairs = found[2]!.match(/[a-z]+="(?:[^"\\]|\\.)*"/g) ?? [];
  return `${found[1]}{${pairs.sort().join(',')}} ${found[3]}`;
}

test('families without labels render at zero before anything happened', async () => {
  const ours = createMetrics();
  ours.counter({ name: 'a_total', help });
  ours.gauge({ name: 'b', help, read: () => 7 });
  const registry = new Registry();
  new Counter({ name: 'a_total', help, registers: [registry] });
  new Gauge({ name: 'b', help, registers: [registry] }).set(7);
  expect(linesOf(ours.render())).toEqual(linesOf(await registry.metrics()));
});

test('the same label values are the same child', () => {
  const counter = createMetrics().counter({ name: 'a_total', help, labels: ['x'] });
  counter('1').value++;
  counter('1').value++;
  expect(counter('1').value).toBe(2);
});

test('past a thousand label sets a family counts under other', () => {
  const metrics = createMetrics();
  const counter = metrics.counter({ name: 'a_total', help, labels: ['x'] });
  for (let i = 0; i < 5_000; i++) counter(String(i)).value++;
  expect(linesOf(metrics.render()).filter((line) => line.startsWith('a_total{'))).toHaveLength(1_001);
  expect(counter('other').value).toBe(4_000);
});

test('a family declared twice, or a child with too few labels, is a mistake of the programmer', () => {
  const metrics = createMetrics();
  const counter = metrics.counter({ name: 'a_total', help, labels: ['x'] });
  expect(() => metrics.gauge({ name: 'a_total', help })).toThrow(TypeError);
  expect(() => counter()).toThrow(TypeError);
});

test('past its limit a family counts under other, and how often it did is counted', () => {
  const ours = createMetrics();
  const family = ours.counter({ name: 'a_total', help, labels: ['x'], most: 2 });
  for (const label of ['one', 'two', 'three', 'four', 'one']) family(label).value++;
  ours.observed({
    name: 'b',
    help,
    labels: ['x'],
    most: 1,
    type: 'gauge',
    read: () => [
      [['p'], 1],
      [['q'], 2],
      [['r'], 3],
    ],
  });
  const text = ours.render();
  for (const line of ['a_total{x="one"} 2', 'a_total{x="other"} 2', 'b{x="p"} 1', 'b{x="other"} 5'])
    expect(linesOf(text)).toContain(line);
  expect(linesOf(ours.render())).toContain('postern_metrics_overflow_total{metric="a_total"} 2');
});

test('a family that only another thread has declared is there too', () => {
  const [main, thread] = [createMetrics(), createMetrics()];
  thread.counter({ name: 'late_total', help, labels: ['x'] })('p').value = 2;
  main.include(() => [thread.samples()]);
  expect(linesOf(main.render())).toEqual([
    `# HELP late_total ${help}`,
    '# TYPE late_total counter',
    'late_total{x="p"} 2',
  ]);
});

test('what is true of the whole process is not added up over threads', () => {
  const [main, thread] = [createMetrics(), createMetrics()];
  for (const one of [main, thread]) {
    one.observed({ name: 'a', help, labels: ['x'], type: 'gauge', isWhole: true, read: () => [[['p'], 3]] });
    one.observed({ name: 'b', help, labels: ['x'], type: 'gauge', read: () => [[['p'], 3]] });
  }
  main.include(() => [thread.samples()]);
  expect(linesOf(main.render())).toEqual(expect.arrayContaining(['a{x="p"} 3', 'b{x="p"} 6']));
});

test('families that are asked for in one go can show one state, and the next reading another', () => {
  const metrics = createMetrics();
  const readings: object[] = [];
  for (const name of ['a', 'b'])
    metrics.observed({
      ...{ name, help, type: 'gauge' },
      read(reading) {
        readings.push(reading);
        return [[[], readings.length]];
      },
    });
  metrics.render();
  metrics.samples();
  expect(readings.map((one) => readings.indexOf(one))).toEqual([0, 0, 2, 2]);
});

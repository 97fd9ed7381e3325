import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createHome, runPostern, spawnPostern } from '../helpers/postern.ts';

const rules = (count: number): string => {
  const rows = Array.from(
    { length: count },
    (_, n) => `  - { id: rule-${n}, effect: allow, from: [web], paths: [/p/${n}] }`,
  );
  return `kind: Policy\nname: big\nto: payments\nrules:\n${rows.join('\n')}\n`;
};

test('a megabyte through a pipe whose reader is slow arrives whole, and the command ends with 0', async () => {
  using home = createHome();
  const file = join(home.path, 'big.yaml');
  writeFileSync(file, rules(4_000));
  const child = spawnPostern(['policy', 'export', '--format', 'casbin', '-o', 'json', '--policy', file]);
  const ended = new Promise((resolve) => child.on('close', resolve));
  child.stderr!.resume();
  await new Promise((resolve) => child.stdout!.once('readable', resolve));
  await wait(300);
  let text = '';
  for await (const chunk of child.stdout!.setEncoding('utf8')) text += chunk;
  expect(text.length).toBeGreaterThan(500_000);
  expect(JSON.parse(text)).toMatchObject({ version: 1 });
  expect(await ended).toBe(0);
});

test('a reader that goes away in the middle ends the command at once', async () => {
  using home = createHome();
  const file = join(home.path, 'big.yaml');
  writeFileSync(file, rules(4_000));
  const child = spawnPostern(['policy', 'export', '--format', 'casbin', '-o', 'json', '--policy', file]);
  const ended = new Promise((resolve) => child.on('close', resolve));
  let said = '';
  child.stderr!.setEncoding('utf8').on('data', (chunk: string) => {
    said += chunk;
  });
  await new Promise((resolve) => child.stdout!.once('readable', resolve));
  child.stdout!.destroy();
  await ended;
  expect(said).toBe('');
});

test.skipIf(process.platform !== 'linux')(
  'F1: a result that the disk has no room for is a failure, not a short file',
  async () => {
    const { code, stderr } = await runPostern(['version'], { shell: 'exec > /dev/full' });
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/^error: standard output cannot be written: the disk is full/),
    ]);
  },
);

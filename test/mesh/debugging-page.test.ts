// docs/debugging.md: every command on it is run on the mesh that it describes, and says what the page says. Only what differs from run to run (addresses, ids,
// numbers of revisions, times) is left out of the comparison.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseResources } from '#config/resources';
import { temporaryFolder } from '../helpers/folder.ts';
import { type CommandOutcome, callThrough, startApp, startLiveMesh } from '../helpers/live-mesh.ts';
import { eventually } from '../helpers/until.ts';

const page = readFileSync(new URL('../../docs/debugging.md', import.meta.url), 'utf8');
const [, yaml = ''] = /```yaml\n(.*?)```/s.exec(page) ?? [];
const examples = [...page.matchAll(/```console\n(.*?)```/gs)].flatMap(([, block]) =>
  block!
    .split(/^\$ /m)
    .slice(1)
    .map((text) => {
      const end = text.indexOf('\n');
      return { command: text.slice(0, end), shown: text.slice(end + 1) };
    }),
);

/** Columns are as wide as what is in them, so spaces do not count. */
function plain(text: string): string {
  return text
    .replace(/127\.0\.0\.1:\d+/g, 'ADDRESS')
    .replace(/\b[0-9a-f]{32}\b/g, 'SERIAL')
    .replace(/\b[0-9a-f]{16}\b/g, 'ID')
    .replace(/\b1\d{12}\b/g, 'REVISION')
    .replace(/\d{4}-\d\d-\d\dT[0-9:]+Z/g, 'TIME')
    .replace(/^\d\d:\d\d:\d\d\.\d{3}/gm, 'TIME')
    .replace(/since \d\d:\d\d UTC/, 'since TIME')
    .replace(/server up \S+/, 'server up AGE')
    .replace(/\b(now|\d+(\.\d+)?(ms|s|m)( ago)?)(?=\s|$)/gm, 'AGE')
    .replace(/^( {2}connections).*$/m, '$1 COUNTS')
    .replace(/(synced +REVISION +- +AGE) +\d+ +\d+/g, '$1 COUNTS')
    .replace(/(app port|payments +payments) +\d{2,5}/g, '$1 PORT')
    .replace(/^( {2}ID|Connected peers\n).*\n/gm, (line) => line.replace(/\d+\n$/, 'COUNT\n'))
    .replace(/ +/g, ' ')
    .trim();
}

test('every command on the page says what the page says', async () => {
  const live = await startLiveMesh();
  await live.sidecar('payments', { app: await startApp(), labels: { version: 'v2' } });
  const checkout = await live.sidecar('checkout');
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'mesh'));
  writeFileSync(join(folder, 'mesh', 'payments.yaml'), yaml);
  const { resources, problems } = parseResources(yaml, 'mesh/payments.yaml');
  expect(problems).toEqual([]);
  await live.mesh.admin.call({ method: 'POST', path: '/v1/resources', body: { version: 1, resources } });
  await live.synced();
  const call = (path: string, headers = {}) => callThrough(checkout, { host: 'payments', path, headers });
  await eventually(
    () => call('/charges'),
    (status) => status === 200,
  );

  const run = async (command: string): Promise<CommandOutcome> => {
    const words = [...command.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare!);
    const running = live.start(...words.slice(1).map((word) => (word === 'mesh' ? join(folder, word) : word)));
    if (words[1] === 'tap') {
      await eventually(
        () => running.stderr,
        (text) => text.includes('looking at'),
      );
      await call('/charges/7');
      await call('/v2/a', { 'x-beta': '1' });
    }
    return running.done;
  };
  expect(examples.map(({ command }) => command.split(' ').slice(0, 2).join(' '))).toEqual(
    expect.arrayContaining(['status', 'describe', 'route', 'tap', 'proxy', 'analyze'].map((name) => `postern ${name}`)),
  );
  for (const { command, shown } of examples) {
    const { stdout, stderr } = await run(command);
    expect(plain(stdout + stderr), command).toBe(plain(shown));
  }
});

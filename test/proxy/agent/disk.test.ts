// What a sidecar keeps survives being killed at any moment, and damage is told with its fix.
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Holding, openSidecarFolder } from '../../../proxy/agent/disk.ts';
import { createTestCa, snapshotFor, type TestCa } from '../../helpers/fake-control.ts';
import { temporaryFolder } from '../../helpers/folder.ts';

const url = 'https://127.0.0.1:8443';

async function hold(ca: TestCa, home: string, name: string, instance = 'instance-1'): Promise<Holding> {
  const folder = openSidecarFolder(home);
  const key = folder.pendingKey(name);
  const identity = await ca.issue({ service: 'shop/payments', key: key.privateKey });
  const holding = { identity, bundle: ca.bundle, bundleText: ca.bundleText, instance, url };
  folder.writeHolding(holding, name);
  return holding;
}

const code = (run: () => unknown): unknown => {
  try {
    return run();
  } catch (thrown) {
    const { code, message, hint } = thrown as { code: string; message: string; hint: string };
    return { code, message, hint };
  }
};

test('what was written is read again, private, with nothing left over', async () => {
  const [ca, home] = [await createTestCa(), temporaryFolder()];
  const folder = openSidecarFolder(home);
  expect(folder.readHolding()).toBeUndefined();
  const { identity } = await hold(ca, home, 'abc');
  const read = folder.readHolding()!;
  expect([read.identity.serial, read.instance, read.url]).toEqual([identity.serial, 'instance-1', url]);
  expect(read.bundle.roots).toEqual(ca.bundle.roots);
  expect(readdirSync(folder.path).sort()).toEqual(['key.pem', 'state.json', 'svid.pem']);
  const modes = ['.', 'key.pem', 'svid.pem', 'state.json'].map(
    (name) => statSync(join(folder.path, name)).mode & 0o777,
  );
  expect(modes).toEqual([0o700, 0o600, 0o600, 0o600]);
});

test('C3: the key for a token is the same one after a restart, and another token gets another', () => {
  const home = temporaryFolder();
  const spki = (name: string): string =>
    openSidecarFolder(home).pendingKey(name).publicKey.export({ format: 'der', type: 'spki' }).toString('hex');
  const first = spki('token-1');
  expect(spki('token-1')).toBe(first);
  expect(spki('token-2')).not.toBe(first);
  expect(statSync(join(home, 'sidecar', 'next-token-1.pem')).mode & 0o777).toBe(0o600);
});

test('C13: killed after each step of a renewal, the folder holds the old pair or the new one', async () => {
  const [ca, home] = [await createTestCa(), temporaryFolder()];
  const path = join(home, 'sidecar');
  const old = await hold(ca, home, 'first');
  const files = ['key.pem', 'svid.pem', 'state.json'].map((name) => [name, readFileSync(join(path, name))] as const);
  const next = await hold(ca, home, 'renewal');
  const newKey = readFileSync(join(path, 'key.pem'));
  const newSvid = readFileSync(join(path, 'svid.pem'));
  const newState = readFileSync(join(path, 'state.json'));
  const steps: readonly [string, () => void, string][] = [
    [
      'the new key is written',
      () => writeFileSync(join(path, 'next-renewal.pem'), newKey, { mode: 0o600 }),
      old.identity.serial,
    ],
    ['the new state is written', () => writeFileSync(join(path, 'state.json'), newState), old.identity.serial],
    ['the new certificate is written', () => writeFileSync(join(path, 'svid.pem'), newSvid), next.identity.serial],
  ];
  for (const [name, bytes] of files) writeFileSync(join(path, name), bytes);
  for (const [name, step, serial] of steps) {
    step();
    expect(openSidecarFolder(home).readHolding()?.identity.serial, name).toBe(serial);
  }
  // Reading finished the last step.
  expect(existsSync(join(path, 'next-renewal.pem'))).toBe(false);
});

test('a key that is half written never hides the pair in use', async () => {
  const [ca, home] = [await createTestCa(), temporaryFolder()];
  const { identity } = await hold(ca, home, 'first');
  writeFileSync(join(home, 'sidecar', 'next-renewal.pem'), '-----BEGIN PRIV', { mode: 0o600 });
  expect(openSidecarFolder(home).readHolding()?.identity.serial).toBe(identity.serial);
});

test('C14: torn, empty, missing, exchanged or exposed files are refused with the exact fix', async () => {
  const ca = await createTestCa();
  const rows: readonly [string, (path: string) => void, string, RegExp][] = [
    [
      'empty key',
      (path) => truncateSync(join(path, 'key.pem')),
      'SIDECAR_FOLDER_BROKEN',
      /key\.pem is damaged: it is not a private key/,
    ],
    ['torn key', (path) => truncateSync(join(path, 'key.pem'), 60), 'SIDECAR_FOLDER_BROKEN', /not a private key/],
    [
      'missing key',
      (path) => rmSync(join(path, 'key.pem')),
      'SIDECAR_FOLDER_BROKEN',
      /key\.pem is damaged: it is missing/,
    ],
    [
      'exposed key',
      (path) => chmodSync(join(path, 'key.pem'), 0o644),
      'FILE_EXPOSED',
      /can be read by others \(mode 0644\)/,
    ],
    [
      'empty certificate',
      (path) => truncateSync(join(path, 'svid.pem')),
      'SIDECAR_FOLDER_BROKEN',
      /svid\.pem is damaged/,
    ],
    [
      'torn certificate',
      (path) => truncateSync(join(path, 'svid.pem'), 200),
      'SIDECAR_FOLDER_BROKEN',
      /svid\.pem is damaged/,
    ],
    [
      'missing certificate',
      (path) => rmSync(join(path, 'svid.pem')),
      'SIDECAR_FOLDER_BROKEN',
      /svid\.pem is damaged: it is missing/,
    ],
    [
      'empty state',
      (path) => truncateSync(join(path, 'state.json')),
      'SIDECAR_FOLDER_BROKEN',
      /state\.json is damaged: it is empty/,
    ],
    [
      'torn state',
      (path) => truncateSync(join(path, 'state.json'), 40),
      'SIDECAR_FOLDER_BROKEN',
      /state\.json is damaged: it is not JSON/,
    ],
    [
      'missing state',
      (path) => rmSync(join(path, 'state.json')),
      'SIDECAR_FOLDER_BROKEN',
      /state\.json is damaged: it is missing/,
    ],
    [
      'unknown state key',
      (path) => writeFileSync(join(path, 'state.json'), '{"version":1,"x":1}'),
      'SIDECAR_FOLDER_BROKEN',
      /state\.json is damaged/,
    ],
    [
      'newer state',
      (path) => writeFileSync(join(path, 'state.json'), '{"version":2}'),
      'SIDECAR_FOLDER_NEWER',
      /newer Postern/,
    ],
    [
      'another key',
      (path) => {
        openSidecarFolder(join(path, '..')).pendingKey('other');
        renameSync(join(path, 'next-other.pem'), join(path, 'key.pem'));
      },
      'SIDECAR_FOLDER_BROKEN',
      /does not belong to svid\.pem/,
    ],
  ];
  for (const [name, damage, expected, words] of rows) {
    const home = temporaryFolder();
    await hold(ca, home, 'first');
    damage(join(home, 'sidecar'));
    const seen = code(() => openSidecarFolder(home).readHolding());
    expect(seen, name).toEqual({
      code: expected,
      message: expect.stringMatching(words),
      hint: expect.stringMatching(/chmod 600|remove .*sidecar and enrol again|newer version/),
    });
  }
});

test('Z2: a snapshot torn anywhere, or changed by a byte, is noticed', async () => {
  const [ca, home] = [await createTestCa(), temporaryFolder()];
  const folder = openSidecarFolder(home);
  expect(folder.readSnapshot()).toBeUndefined();
  const snapshot = snapshotFor(ca, 'shop/payments');
  folder.writeSnapshot(JSON.stringify(snapshot));
  const path = join(home, 'sidecar', 'snapshot.json');
  expect(folder.readSnapshot()).toEqual({ value: snapshot });
  const text = readFileSync(path, 'utf8');
  expect(JSON.parse(text)).toMatchObject({ snapshot });
  for (const cut of [0, 1, 40, 80, 100, text.length - 3, text.length - 1]) {
    writeFileSync(path, text.slice(0, cut));
    expect(folder.readSnapshot(), `cut at ${cut}`).toHaveProperty('broken');
  }
  writeFileSync(path, text.replace('"revision":1', '"revision":2'));
  expect(folder.readSnapshot()).toHaveProperty('broken');
});

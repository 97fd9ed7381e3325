// The tutorial of README.md, typed into an interactive shell exactly as it is written (all but `npm ci`), with python3 and curl.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { eventually } from '../helpers/until.ts';
import { programPath } from './programs.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const readme = readFileSync(`${root}README.md`, 'utf8');
const tutorial = readme.slice(readme.indexOf('## Your first mesh'), readme.indexOf('## Read on'));
const blocks = [...tutorial.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, text]) => text!.replace(/^npm ci\n/, ''));

/** What a reader sees after each block before going on to the next; what it tells to do next is in it. */
const seen: readonly (readonly RegExp[])[] = [
  [],
  [
    /trust domain +example\.org/,
    /next: postern server/,
    /listening +https:\/\/127\.0\.0\.1:8443/,
    /next: postern token create/,
  ],
  [
    /a token for one instance of \S+\/files/,
    /next: postern sidecar --token TOKEN/,
    /inbound +127\.0\.0\.1:15008/,
    /next: curl -x/,
  ],
  [/a token for one instance of \S+\/web/, /outbound +127\.0\.0\.1:16001/, /next: curl -x http:\/\/127\.0\.0\.1:16001/],
  [/\nfiles +\S+ +synced /, /\nweb +\S+ +synced /],
  [/HTTP\/1\.1 403 /, /"hint":"run: postern policy why web files GET \/"/],
  [
    /policy\/files-access created/,
    /next: postern status/,
    /HTTP\/1\.1 200 /,
    /hello/,
    /HTTP\/1\.1 403 /,
    /denied-by-rule/,
  ],
  [
    /deny +denied-by-rule/,
    /files-access\/nobody-lists-secrets +\/tmp\/mesh\/policies\.yaml:9/,
    /next: postern audit query --id/,
  ],
  [/web banned/, /next: postern identity unban web/, /HTTP\/1\.1 (403|502) /, /web unbanned/],
  [/0 to look at, 0 failed/],
  [/the sidecar has stopped[\s\S]*the sidecar has stopped/],
];

test('the tutorial works as it is written, and each command tells the next', async () => {
  expect(blocks).toHaveLength(seen.length);
  for (const program of ['python3', 'curl', 'bash']) programPath(program);
  expect(existsSync('/tmp/mesh'), '/tmp/mesh is in the way').toBe(false);
  for (const port of [8080, 8443, 15000, 15001, 15008, 15020, 16000, 16001, 16008, 16020]) await assertFree(port);
  const shell = spawn('bash', ['--noprofile', '--norc', '-i'], {
    cwd: root,
    stdio: 'pipe',
    // A group of its own, so that nothing of it outlives a failure.
    detached: true,
    env: { ...process.env, PS1: '', POSTERN_HOME: undefined, NO_COLOR: '1' },
  });
  let said = '';
  for (const stream of [shell.stdout, shell.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  const ended = new Promise<number | null>((resolve) => shell.on('close', resolve));
  try {
    for (const [index, block] of blocks.entries()) {
      said = '';
      // A few seconds, as the page says.
      if (block.startsWith('postern check')) await wait(8_000);
      shell.stdin.write(`${block}echo "block ${index} is over"\n`);
      const wanted = [new RegExp(`\nblock ${index} is over\n`), ...seen[index]!];
      await eventually(
        () => said,
        (text) => wanted.every((one) => one.test(`\n${text}`)),
        { withinMs: 30_000 },
      );
      expect(said).not.toMatch(/error:|\n +at |No such file|command not found/);
    }
    shell.stdin.end('exit\n');
    expect(await ended).toBe(0);
    expect(existsSync('/tmp/mesh')).toBe(false);
  } finally {
    if (shell.exitCode === null) process.kill(-shell.pid!, 'SIGKILL');
    rmSync('/tmp/mesh', { recursive: true, force: true });
  }
});

async function assertFree(port: number): Promise<void> {
  const probe = createServer();
  await new Promise<void>((resolve, reject) => {
    probe.once('error', () => reject(new Error(`port ${port}, which the tutorial uses, is taken on this machine`)));
    probe.listen(port, '127.0.0.1', resolve);
  });
  await new Promise((resolve) => probe.close(resolve));
}

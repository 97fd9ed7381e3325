import { Command } from 'commander';
import { expect, test } from 'vitest';
import { sidecarSettings } from '#config';
import { addSettings, flagsOf, parseQuickly } from '../../cli/process.ts';

/** What commander makes of the same words. */
function parseSlowly(words: readonly string[]): unknown {
  const program = new Command()
    .exitOverride()
    .option('--home <dir>')
    .option('-o, --output <format>')
    .option('-q, --quiet')
    .option('--no-color');
  program.configureOutput({ writeErr: () => undefined, outputError: () => undefined });
  let flags: unknown;
  addSettings(program.command('sidecar'), sidecarSettings).action((options) => {
    flags = flagsOf(options, sidecarSettings);
  });
  try {
    program.parse([...words], { from: 'user' });
  } catch {
    return undefined;
  }
  return flags;
}

test.each([
  ['sidecar'],
  ['sidecar --token a.b.c --app 127.0.0.1:8080 --drain=5s'],
  ['--home /x -q sidecar --upstream a=1 --upstream b=2 --label=c=d'],
  ['sidecar --unsafe-admin-non-loopback --admin 0.0.0.0:1 -o json --no-color'],
  ['sidecar --config x.yaml --log-level debug'],
])('a sidecar without commander understands the same: postern %s', (line) => {
  const words = line.split(' ');
  const quick = parseQuickly(words, 'sidecar', sidecarSettings);
  expect(JSON.stringify(quick?.flags)).toBe(JSON.stringify(parseSlowly(words)));
  expect(quick).toBeDefined();
});

test.each([
  ['sidecar extra'],
  ['sidecar --lable a=b'],
  ['sidecar --app'],
  ['sidecar --help'],
  ['sidecar -o xml'],
  ['status'],
  ['sidecar -o yaml'],
])('what it does not understand is left to commander: postern %s', (line) => {
  expect(parseQuickly(line.split(' '), 'sidecar', sidecarSettings)).toBeUndefined();
});

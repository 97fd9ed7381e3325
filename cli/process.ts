// What long-running commands share: their settings as flags, their operations log, and stopping once, gracefully.
// Loaded by sidecars: commander only as a type.
import type { Command } from 'commander';
import { readFileOrFail } from '#base/files';
import { createLog, type Level, type Log } from '#base/log';
import { factsOf, readSettingsFile, type SettingFacts, type Settings, type SettingsInput } from '#config';
import type { CliContext, GlobalOptions } from './context.ts';
import type { Tone } from './paint.ts';

export type Flags = Readonly<Record<string, unknown>>;

/** Declares every setting as an option of the command, and `--config`. */
export function addSettings(command: Command, settings: Settings): Command {
  return addFlags(command, settings).option(
    '--config <FILE>',
    'settings from a YAML or JSON file; flags and POSTERN_* variables come first',
  );
}

/** Declares every setting as an option of the command. */
export function addFlags(command: Command, settings: Settings): Command {
  for (const fact of factsOf(settings)) {
    const { flag, value, kind, description, default: fallback } = fact;
    const shown = fallback === undefined || kind === 'switch' ? '' : ` (default ${String(fallback)})`;
    const text = `${description}${shown}`;
    if (kind === 'switch') command.option(`--${flag}`, text);
    else if (kind === 'pairs' || kind === 'list')
      command.option(`--${flag} <${value}>`, text, (each: string, before: string[] = []) => [...before, each]);
    else command.option(`--${flag} <${value}>`, text);
  }
  return command;
}

/** The words of a command line by setting key, without commander; `undefined` when commander should have a word with whoever wrote them. */
export function parseQuickly(
  words: readonly string[],
  name: string,
  settings: Settings,
): { options: GlobalOptions; flags: Flags } | undefined {
  const facts = factsOf(settings);
  const own = Object.fromEntries(
    facts.map(({ flag, kind }) => [
      flag,
      { type: kind === 'switch' ? 'boolean' : 'string', multiple: kind === 'pairs' || kind === 'list' } as const,
    ]),
  );
  const all = {
    home: { type: 'string' },
    server: { type: 'string' },
    output: { type: 'string', short: 'o' },
    'no-color': { type: 'boolean' },
    quiet: { type: 'boolean', short: 'q' },
    debug: { type: 'boolean' },
    config: { type: 'string' },
  } as const;
  try {
    // Not imported: the namespace of node:util loads workers, streams and more, which a sidecar would carry for ever.
    const { values, positionals } = process.getBuiltinModule('node:util').parseArgs({
      args: [...words],
      options: { ...own, ...all },
      allowPositionals: true,
    });
    const { home, server, output, quiet, debug, config, 'no-color': colourless } = values as Record<string, unknown>;
    if (positionals.length !== 1 || positionals[0] !== name) return undefined;
    if (output !== undefined && output !== 'table' && output !== 'json') return undefined;
    const options = { home, server, output, quiet, debug, color: colourless !== true } as GlobalOptions;
    return { options, flags: { ...byKey(facts, (fact) => (values as Flags)[fact.flag]), config } };
  } catch {
    return undefined;
  }
}

/** Commander's options by setting key. */
export function flagsOf(options: Flags, settings: Settings): Flags {
  const attribute = (flag: string): string => flag.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
  return { ...byKey(factsOf(settings), (fact) => options[attribute(fact.flag)]), config: options.config };
}

/** What a process's settings are read from; reads the `--config` file. */
export async function settingsInput(context: CliContext, flags: Flags): Promise<SettingsInput> {
  const file = (flags.config as string | undefined) ?? context.env.POSTERN_CONFIG;
  return { flags, env: context.env, file: file === undefined ? undefined : await readSettingsFile(file) };
}

/** The operations log on stderr: a line of text for people at a terminal, else JSON. */
export function processLog(
  context: CliContext,
  { logLevel, logFormat }: { logLevel: Level; logFormat: 'auto' | 'json' | 'text' },
): Log {
  const { output, clock } = context;
  const text = logFormat === 'text' || (logFormat === 'auto' && output.interactive);
  return createLog({
    level: logLevel,
    now: () => clock.now(),
    write: (line) => output.log(text ? textOf(line, (tone, word) => output.paintTalk(tone, word)) : line),
  });
}

/** Starts something, says that it is ready, and closes it when the process is asked to stop; asked before it was ready, it just ends. */
export async function runUntilStopped<T extends { close(): Promise<void> }>(
  context: CliContext,
  { start, ready }: { start: () => Promise<T>; ready: (running: T) => void },
): Promise<void> {
  const stopped = abortOf(context.stopSignal());
  const running = await Promise.race([start(), stopped]);
  if (running === undefined) return context.output.say('stopped before it was ready');
  context.onCrash(() => running.close());
  ready(running);
  await stopped;
  context.output.say('stopping: finishing what runs');
  await running.close();
}

function abortOf(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
}

/** A passphrase from a file or an open descriptor, without the line feed at its end; never from the command line itself. */
export function readPassphrase({
  file,
  fd,
}: {
  file?: string | undefined;
  fd?: number | undefined;
}): Buffer | undefined {
  if (file === undefined && fd === undefined) return undefined;
  const bytes = readFileOrFail(file ?? `/dev/fd/${fd}`);
  let end = bytes.length;
  while (end > 0 && (bytes[end - 1] === 10 || bytes[end - 1] === 13)) end--;
  return bytes.subarray(0, end);
}

function byKey(facts: readonly SettingFacts[], value: (fact: SettingFacts) => unknown): Flags {
  return Object.fromEntries(facts.map((fact) => [fact.key, value(fact)]));
}

function textOf(line: string, paint: (tone: Tone, text: string) => string): string {
  const { time, level, message, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const tones: Readonly<Record<string, Tone>> = { debug: 'dim', info: 'good', warn: 'warn', error: 'bad' };
  const rest = Object.entries(fields).map(
    ([name, value]) => ` ${paint('dim', `${name}=`)}${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  return `${paint('dim', String(time).slice(11, 23))} ${paint(tones[String(level)] ?? 'dim', String(level).padEnd(5))} ${message}${rest.join('')}`;
}

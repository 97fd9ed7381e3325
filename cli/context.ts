// What every command is handed: where home is, how to speak, what time it is, and the control plane's API. Made once for each run.

import { type Clock, systemClock } from '#base/clock';
import type { Environment } from '#config';
import { resolveHome } from '#config';
import type { Channel } from '#wire/channel';
import type { ExitCode } from './exit-codes.ts';
import { exitCodes } from './exit-codes.ts';
import { createOutput, type formats, type Output, type Sink } from './output.ts';

/** The options that every command takes, before or after its name. */
export interface GlobalOptions {
  readonly home?: string;
  readonly server?: string;
  readonly output?: (typeof formats)[number];
  readonly color?: boolean;
  readonly quiet?: boolean;
  readonly debug?: boolean;
}

/** The control plane's API in the name of the home's admin. */
export interface Api extends Omit<Channel, 'close'> {
  readonly url: string;
  readonly trustDomain: string;
}

export interface CliContext {
  readonly clock: Clock;
  readonly env: Environment;
  readonly options: GlobalOptions;
  readonly output: Output;
  /** The home folder, absolute; throws `CONFIG_NO_HOME`. */
  home(): string;
  /** Runs `work` with the API and closes it afterwards. Renews the admin identity past its half-life. */
  withApi<T>(work: (api: Api) => Promise<T>): Promise<T>;
  /** Aborts at the first SIGINT or SIGTERM, or when the reader of stdout goes away; a second signal forces the exit. */
  stopSignal(): AbortSignal;
  /** Called when the process is asked to read its configuration again (SIGHUP). */
  onReload(reload: () => void): void;
  /** Run, for at most a second, when something unexpected ends the process: flush what can be flushed. */
  onCrash(flush: () => Promise<unknown>): void;
  /** The exit code once the command has returned; a thrown error has its own. */
  exitWith(code: ExitCode): void;
}

export interface ContextOptions {
  readonly env: Environment;
  readonly stdout: Sink;
  readonly stderr: Sink;
  readonly clock?: Clock;
  /** Installs the handlers of signals; called at most once. `reload` is false when there is nothing to read again. */
  readonly onStop?: (stop: () => void, reload: () => boolean) => void;
}

export interface ContextControl {
  readonly context: CliContext;
  /** Called when the global options are known, before any command runs. */
  configure(options: GlobalOptions): Promise<void>;
  exitCode(): ExitCode;
  /** Runs what `onCrash` was given; never throws. */
  flush(): Promise<void>;
}

export function createContext({ env, stdout, stderr, clock = systemClock, onStop }: ContextOptions): ContextControl {
  let exitCode: ExitCode = exitCodes.ok;
  let options: GlobalOptions = {};
  let stop: AbortController | undefined;
  const flushes: (() => Promise<unknown>)[] = [];
  const reloads: (() => void)[] = [];
  const outputFor = (chosen: GlobalOptions, toYaml?: (value: unknown) => string): Output =>
    createOutput({
      stdout,
      stderr,
      format: chosen.output ?? 'table',
      quiet: chosen.quiet ?? false,
      debug: chosen.debug ?? false,
      colour: chosen.color !== false && env.NO_COLOR === undefined && env.TERM !== 'dumb',
      toYaml,
    });
  let output = outputFor(options);
  const context: CliContext = {
    clock,
    env,
    get options() {
      return options;
    },
    get output() {
      return output;
    },
    home: () => resolveHome(options.home, env),
    async withApi(work) {
      const { openApi } = await import('./api.ts');
      const api = await openApi(context);
      try {
        return await work(api);
      } finally {
        await api.close();
      }
    },
    stopSignal() {
      if (!stop) {
        const controller = new AbortController();
        stop = controller;
        const reload = (): boolean => {
          for (const run of reloads) run();
          return reloads.length > 0;
        };
        onStop?.(() => controller.abort(), reload);
        output.onClosed(() => controller.abort());
      }
      return stop.signal;
    },
    onReload: (reload) => void reloads.push(reload),
    onCrash: (flush) => void flushes.push(flush),
    exitWith: (code) => {
      exitCode = code;
    },
  };
  return {
    context,
    async configure(chosen) {
      options = chosen;
      const toYaml = chosen.output === 'yaml' ? (await import('yaml')).stringify : undefined;
      output = outputFor(chosen, toYaml && ((value) => toYaml(JSON.parse(JSON.stringify(value)))));
    },
    exitCode: () => exitCode,
    flush: async () => void (await Promise.allSettled(flushes.map((flush) => flush()))),
  };
}

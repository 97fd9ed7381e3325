// How the demo looks: chapters, the commands as a user would type them with what they print, and claims that hold or do not.
// Decides nothing about the mesh; remembers every claim that failed.
import type { Output } from '../output.ts';
import { cleanText } from '../paint.ts';
import type { Answer } from './client.ts';
import { type Running, type RunningApp, runPostern, startApp, startPostern } from './processes.ts';

export interface Stage {
  /** Every later command runs against this control-plane home. */
  home(folder: string): void;
  chapter(title: string): void;
  note(text: string): void;
  /** Shows and runs a command that has to succeed; its standard output. */
  postern(...args: string[]): Promise<string>;
  /** Runs a command without showing it; its standard output. */
  quietly(...args: string[]): Promise<string>;
  /** Shows and starts a process, and waits until it is ready. */
  start<T>(...args: string[]): Promise<Running<T>>;
  startApp(name: string): Promise<RunningApp>;
  /** Ends every process that was started here, the newest first. */
  end(): Promise<void>;
  /** Shows what a caller was answered. */
  show(what: string, answer: Answer): void;
  /** Says a claim and whether it holds. */
  claim(text: string, holds: boolean): void;
  readonly claims: { readonly held: number; readonly failed: readonly string[] };
}

/** Exit codes that still mean that the command did its work: 3 is an answer (`policy why`: denied). */
const answers = [0, 3];

export function createStage({ raw, paint }: Pick<Output, 'raw' | 'paint'>): Stage {
  const failed: string[] = [];
  const started: { stop(): Promise<unknown> }[] = [];
  let home: string[] = [];
  let chapters = 0;
  let held = 0;
  const line = (text: string): void => raw(`${text}\n`);
  const indented = (text: string, width = 118): void => {
    for (const row of cleanText(text.trimEnd(), false).split('\n')) {
      if (row !== '') line(`   ${paint('dim', row.length > width ? `${row.slice(0, width - 1)}…` : row)}`);
    }
  };
  const run = async (args: readonly string[]): Promise<{ stdout: string; stderr: string }> => {
    const finished = await runPostern([...args, ...home]);
    if (answers.includes(finished.code)) return finished;
    throw new Error(`postern ${args.join(' ')} exited with ${finished.code}: ${finished.stderr.trim()}`);
  };
  return {
    home: (folder) => {
      home = ['--home', folder];
    },
    chapter: (title) => line(`\n${paint('bold', `${++chapters}  ${title}`)}`),
    note: (text) => line(`   ${text}`),
    async postern(...args) {
      line(`   $ postern ${shortened(args)}`);
      const { stdout, stderr } = await run(args);
      indented(args.includes('create') ? brief(stdout) : stdout + stderr);
      return stdout;
    },
    quietly: async (...args) => (await run(args)).stdout,
    async start(...args) {
      line(`   $ postern ${shortened(args)} &`);
      const running = await startPostern<never>(args);
      started.push(running);
      indented(`ready after ${Math.round(running.readyMs)} ms: process ${running.pid}`);
      return running;
    },
    async startApp(name) {
      const app = await startApp(name);
      started.push(app);
      return app;
    },
    async end() {
      for (const process of started.reverse()) await process.stop();
    },
    show(what, { status, body }) {
      line(`   ${what}: ${paint(status < 400 ? 'good' : 'bad', String(status))}`);
      indented(body.length > 600 ? `${body.slice(0, 600)}…` : body, 200);
    },
    claim(text, holds) {
      if (holds) held++;
      else failed.push(text);
      line(`   ${holds ? paint('good', '✓') : paint('bad', '✗')} ${text}`);
    },
    get claims() {
      return { held, failed };
    },
  };
}

/** A command line for people: long values cut, the ports that are free anyway left out. */
function shortened(args: readonly string[]): string {
  const shown: string[] = [];
  for (let index = 0; index < args.length; index++) {
    const word = args[index]!;
    if (/^--(inbound|outbound|admin|metrics|listen|home)$/.test(word)) index++;
    else shown.push(word.length > 60 ? `${word.slice(0, 24)}…` : word);
  }
  return shown.join(' ');
}

/** A token's JSON without the token itself: it is a secret even when it lives for ten minutes. */
function brief(text: string): string {
  const { service, expiresAt, token } = JSON.parse(text) as { service: string; expiresAt: number; token: string };
  const until = new Date(expiresAt).toISOString().slice(11, 19);
  return `token ${token.slice(0, 16)}… for ${service}, good once, until ${until} UTC`;
}

// Snapshots so large that reading one would hold the event loop, and so every request: read, checked and written by a thread of their own. The rules
// stay text, in memory that both threads see.
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Problem } from '#base/error';
import { threadEnvironment } from '#base/threads';
import type { PolicySet, Snapshot } from '#wire';
import { type RulesText, rulesFrom } from '../rules-text.ts';
import { fail } from './errors.ts';

/** Above this many bytes an event is read by a thread: what is smaller takes a few milliseconds here, which is sooner than a thread begins. */
export const largeBytes = 256 * 1024;

export interface LargeEvent {
  readonly event: unknown;
  /** What is wrong with the snapshot in it, of which only what must not wait is there then; empty when nothing is; absent when it has none. */
  readonly problems?: readonly Problem[];
}

export interface LargeSnapshots {
  /** Reads the line of an event, whose memory goes away. Throws when it is not JSON. */
  read(line: Uint8Array<ArrayBuffer>): Promise<LargeEvent>;
  /** Keeps a snapshot whose policy was read here; `undefined` when it is none of these. */
  write(path: string, snapshot: Snapshot): Promise<void> | undefined;
}

export type Task =
  | { readonly ask: 'read'; readonly line: Uint8Array<ArrayBuffer> }
  | { readonly ask: 'write'; readonly path: string; readonly head: string; readonly policy: SharedArrayBuffer };

export interface Answer {
  readonly event?: unknown;
  readonly problems?: readonly Problem[];
  /** The policy's text, and where in it the rules are. */
  readonly policy?: RulesText;
  readonly failure?: string;
}

export function createLargeSnapshots(): LargeSnapshots {
  const texts = new WeakMap<PolicySet, SharedArrayBuffer>();
  return {
    async read(line) {
      const { event, problems, policy, failure } = await run({ ask: 'read', line }, [line.buffer]);
      if (failure !== undefined) throw fail('SIDECAR_SNAPSHOT_REFUSED', { revision: 0, reason: failure });
      if (!policy) return { event, ...(problems && { problems }) };
      const read = event as { readonly snapshot: Snapshot };
      const set: PolicySet = { ...read.snapshot.policy, rules: rulesFrom(policy) };
      texts.set(set, policy.text);
      return { event: { ...read, snapshot: { ...read.snapshot, policy: set } }, problems: [] };
    },
    write(path, { policy, ...others }) {
      const text = texts.get(policy);
      if (!text) return undefined;
      const head = `${JSON.stringify(others).slice(0, -1)},"policy":`;
      return run({ ask: 'write', path, head, policy: text }).then(({ failure }) => {
        if (failure !== undefined) throw new Error(failure);
      });
    },
  };
}

function run(task: Task, transferList: ArrayBuffer[] = []): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const file = new URL(`./snapshot-thread${extname(import.meta.url)}`, import.meta.url);
  const thread = new Worker(file, { workerData: task, transferList, execArgv: [], env: threadEnvironment() });
  thread.once('message', resolve);
  thread.once('error', reject);
  thread.once('exit', () => reject(new Error('the thread that reads snapshots has ended')));
  return promise;
}

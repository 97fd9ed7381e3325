// The thread that reads one large snapshot, or writes one to the disk, and ends. Loaded as a worker only; what is wrong is an answer, never a crash.
import { parentPort, workerData } from 'node:worker_threads';
import { messageOf } from '#base/error';
import { check } from '#base/schema';
import { type Snapshot, snapshotSchema } from '#wire';
import type { RulesText } from '../rules-text.ts';
import { writeSnapshotFile } from './disk.ts';
import type { Answer, Task } from './large-snapshot.ts';

try {
  parentPort!.postMessage(answer(workerData as Task));
} catch (thrown) {
  parentPort!.postMessage({ failure: messageOf(thrown) } satisfies Answer);
}

function answer(task: Task): Answer {
  if (task.ask === 'read') return read(task.line);
  writeSnapshotFile(task.path, [task.head, Buffer.from(task.policy), '}']);
  return {};
}

function read(line: Uint8Array): Answer {
  const event = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(line)) as { snapshot?: Snapshot };
  if (event?.snapshot === undefined) return { event };
  const problems = check(snapshotSchema, event.snapshot);
  const { policy, ...others } = event.snapshot;
  if (problems.length > 0) return { event: { ...event, snapshot: others }, problems };
  const { rules, ...rest } = policy;
  return { event: { ...event, snapshot: { ...others, policy: { ...rest, rules: [] } } }, policy: textOf(rest, rules) };
}

/** The policy as JSON, with the rules last, and where in it each of them is. */
function textOf(rest: object, rules: readonly object[]): RulesText {
  const parts = [`${JSON.stringify(rest).slice(0, -1)},"rules":[`];
  const places = new Int32Array(new SharedArrayBuffer(4 * (rules.length + 1)));
  places[0] = Buffer.byteLength(parts[0]!);
  for (const [at, rule] of rules.entries()) {
    const part = JSON.stringify(rule);
    places[at + 1] = places[at]! + Buffer.byteLength(part) + 1;
    parts.push(at === 0 ? part : `,${part}`);
  }
  parts.push(']}');
  const whole = Buffer.from(parts.join(''));
  const text = new SharedArrayBuffer(whole.length);
  Buffer.from(text).set(whole);
  return { text, places };
}

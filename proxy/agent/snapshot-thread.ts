// The thread that reads one large snapshot, or writes one to the disk, and ends. Loaded as a worker only; what is wrong is an answer, never a crash.
import { parentPort, workerData } from 'node:worker_threads';
import { messageOf } from '#base/error';
import { check } from '#base/schema';
import { type Snapshot, snapshotSchema } from '#wire';
import { writeSnapshotFile } from './disk.ts';
import type { Answer, Task } from './large-snapshot.ts';

/** Of rules that are brought over at once: about a third of a millisecond's work. */
const pieceBytes = 32 * 1024;

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

/** The policy as JSON, with the rules last, and where in it the pieces are. */
function textOf(rest: object, rules: readonly object[]): NonNullable<Answer['policy']> {
  const head = Buffer.from(`${JSON.stringify(rest).slice(0, -1)},"rules":[`);
  const pieces: Buffer[] = [];
  for (let piece = '', at = 0; at < rules.length; at++) {
    piece += `${piece === '' ? '' : ','}${JSON.stringify(rules[at])}`;
    if (piece.length < pieceBytes && at < rules.length - 1) continue;
    pieces.push(Buffer.from(piece));
    piece = '';
  }
  const parts = [
    head,
    ...pieces.flatMap((piece, at) => (at === 0 ? [piece] : [Buffer.from(','), piece])),
    Buffer.from(']}'),
  ];
  const text = new SharedArrayBuffer(parts.reduce((sum, { length }) => sum + length, 0));
  const places: number[] = [];
  let at = 0;
  for (const part of parts) {
    Buffer.from(text).set(part, at);
    if (part.length > 1 && part !== head && part !== parts.at(-1)) places.push(at, at + part.length);
    at += part.length;
  }
  return { text, places };
}

// The thread that frames, hashes, signs and syncs a proxy's decision log. Loaded as a worker only; a failure is an answer, never a crash.
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '#base/clock';
import { messageOf } from '#base/error';
import type { Reply, Request } from './engine.ts';
import { type LogSettings, type LogWriter, openLogWriter } from './log-writer.ts';

const port = parentPort!;
const settings = workerData as LogSettings;
const reply = (message: Reply): void => port.postMessage(message);
let writer: LogWriter | undefined;

port.on('message', (request: Request) => {
  const { id } = request;
  // A batch that cannot be added ends the thread: the next one begins with what is on the disk.
  if (request.ask === 'write') for (const batch of request.batches) writer!.add(batch);
  try {
    writer ??= openLogWriter({
      ...settings,
      now: () => systemClock.now(),
      notify: (notice) => reply({ notice }),
    });
    if (request.ask === 'write' || request.ask === 'publish') writer.release(request.released);
    if (request.ask === 'write') writer.commit(request);
    if (request.ask === 'publish') return reply({ id, note: writer.publish() });
    if (request.ask === 'prune') writer.prune();
    if (request.ask === 'close') writer.close();
    reply({ id, standing: writer.standing });
  } catch (thrown) {
    reply({ id, failure: messageOf(thrown) });
  }
});

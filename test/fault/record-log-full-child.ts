// A process that writes decision records steadily, with a short queue, and tells each tenth of a second how it stands; it closes its log
// and ends when its standard input does.
import { createRecordLog } from '#audit';
import { systemClock } from '#base/clock';
import { silentLog } from '#base/log';
import { recordOf } from '../helpers/record.ts';

const log = createRecordLog({ folder: process.argv[2]!, clock: systemClock, log: silentLog, maxQueued: 400 });
const writing = setInterval(() => {
  for (let i = 0; i < 20; i++) log.append(recordOf({ id: `d-${log.lastSeq + 1}` }));
}, 5);
const telling = setInterval(() => {
  process.stdout.write(`${JSON.stringify({ lost: log.lost, queued: log.queued, lastSeq: log.lastSeq })}\n`);
}, 100);
process.stdin.on('end', async () => {
  clearInterval(writing);
  clearInterval(telling);
  await log.close();
  process.stdout.write(`${JSON.stringify({ lost: log.lost, queued: log.queued, lastSeq: log.lastSeq })}\n`);
});
process.stdin.resume();

// A process that does nothing but write decision records and say which it has read back, until it is killed.
import { createRecordLog } from '#audit';
import { systemClock } from '#base/clock';
import { silentLog } from '#base/log';
import { recordOf } from '../helpers/record.ts';

const log = createRecordLog({ folder: process.argv[2]!, clock: systemClock, log: silentLog, maxBytes: 4 * 2 ** 20 });
let read = 0;
log.onAppend(async () => {
  const records = await log.read(read + 1, 5_000);
  read = records.at(-1)?.seq ?? read;
  process.send?.(read);
});
setInterval(() => {
  for (let i = 0; i < 60; i++) log.append(recordOf({ id: `d-${log.lastSeq + 1}` }));
}, 5);

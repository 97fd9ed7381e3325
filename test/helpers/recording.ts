// A process that records as fast as it may and says on standard output what is durable, until it is killed; for tests that kill it.
import { createRecordLog } from '#audit/log';
import { systemClock } from '#base/clock';
import { silentLog } from '#base/log';
import { recordOf } from './record.ts';

const log = createRecordLog({
  folder: process.argv[2]!,
  clock: systemClock,
  log: silentLog,
  origin: 'example.org/payments/i-1',
});
log.onAppend(() => {
  void log
    .read(log.lastSeq - log.queued, 1)
    .then(([last]) => process.stdout.write(`${last?.seq ?? 0} ${last?.id ?? ''}\n`));
});
process.stdout.write('0\n');
const record = (): void => {
  for (let i = 0; i < 10; i++) log.append(recordOf({ id: `d-${log.lastSeq + 1}` }));
  if (log.lastSeq % 400 === 0) void log.sign();
  setTimeout(record, 2);
};
record();

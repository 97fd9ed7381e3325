// A process that takes the lock, says so, and then does nothing until it is killed.
import { lockFolder } from '../../../proxy/agent/lock.ts';

lockFolder(process.argv[2]!);
process.send?.('locked');
setInterval(() => undefined, 1_000);

// What a process left behind that was killed half way through a write or through dropping a bundle: of no use to anybody, and not to stay, because nobody
// would mask it or drop it again.
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { listNumbers, logFile } from './log-files.ts';
import { tilePath } from './merkle/tile-path.ts';

/** Call before anything is written. `firstBundle`: the lowest that is kept. Never throws: what stays does no harm to the log. */
export function removeLeftovers(folder: string, firstBundle: number): void {
  try {
    for (const area of [logFile.growing(folder), join(folder, 'tile')])
      for (const name of readdirSync(area, { recursive: true, encoding: 'utf8' }))
        if (name.endsWith('.tmp')) rmSync(join(area, name), { force: true });
  } catch {
    // The area is not there yet.
  }
  try {
    for (const bundle of listNumbers(join(folder, 'clear')))
      if (bundle < firstBundle) rmSync(logFile.clear(folder, bundle), { force: true });
    for (const bundle of listNumbers(join(folder, 'tile', '0')))
      if (bundle < firstBundle) rmSync(join(folder, tilePath(0, bundle)), { force: true });
  } catch {
    // A disk that removes nothing.
  }
}

// Tells when any of some files was replaced, changed, made or removed. Looks at them now and then: notifications of the system miss what is renamed over
// them, mounted, or shared by a network, which is how configuration and certificates mostly come.
import { statSync } from 'node:fs';
import type { Clock } from '#base/clock';

export interface FileWatch {
  /** Looks at these from now on, as they are now. */
  of(files: readonly string[]): void;
  close(): void;
}

const everyMs = 1_000;

/** `changed` is called once for each change, when the files have been left alone for a moment: half of one is nothing to read. */
export function watchFiles({ clock, changed }: { readonly clock: Clock; readonly changed: () => void }): FileWatch {
  let files: readonly string[] = [];
  let known = '';
  let last = '';
  const look = (): void => {
    const now = stateOf(files);
    if (now !== known && now === last) {
      known = now;
      changed();
    }
    last = now;
    cancel = clock.after(everyMs, look);
  };
  let cancel = clock.after(everyMs, look);
  return {
    of(next) {
      files = next;
      known = stateOf(next);
      last = known;
    },
    close: () => cancel(),
  };
}

function stateOf(files: readonly string[]): string {
  return files
    .map((file) => {
      try {
        const { mtimeMs, ctimeMs, size, ino } = statSync(file);
        return `${file} ${mtimeMs} ${ctimeMs} ${size} ${ino}`;
      } catch {
        return `${file} -`;
      }
    })
    .join('\n');
}

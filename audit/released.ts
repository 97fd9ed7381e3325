// What of a log need not be kept, and what was dropped all the same: noted before a bundle goes, so that whoever opens the log next knows a dropped record
// from one that somebody removed. Always as long, so that a power cut leaves what was noted before or what is noted now.
import { closeSync, fdatasyncSync, fstatSync, openSync, writeSync } from 'node:fs';
import { writeFileAtomic } from '#base/files';
import { logFile, readIfThere } from './log-files.ts';

export interface Released {
  /** Everything up to this sequence is kept elsewhere, or declared missing by a gap record that is durable. */
  readonly through: number;
  /** Beyond that, what is missing up to here was dropped to keep the log within its size. */
  readonly dropped: number;
}

const length = 34;

export function readReleased(folder: string): Released {
  const words = String(readIfThere(logFile.released(folder)) ?? '')
    .trim()
    .split(/\s+/);
  const [through = 0, dropped = 0] = words.map((word) => Number(word) || 0);
  return { through, dropped };
}

/** `isSynced`: durable on return. */
export function writeReleased(
  folder: string,
  { through, dropped }: Released,
  { isSynced }: { readonly isSynced: boolean },
): void {
  const path = logFile.released(folder);
  // A single number when that says it all: an earlier version reads no more than that.
  const text = `${through}${dropped > through ? ` ${dropped}` : ''}`.padEnd(length);
  if (readIfThere(path)?.length !== length) return writeFileAtomic(path, text);
  const file = openSync(path, 'r+');
  try {
    if (fstatSync(file).size === length) writeSync(file, Buffer.from(text), 0, length, 0);
    if (isSynced) fdatasyncSync(file);
  } finally {
    closeSync(file);
  }
}

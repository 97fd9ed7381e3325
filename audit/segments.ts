// Where records lie on a proxy's disk: files of JSON lines, each named by its first sequence, read and repaired here. Never rewrites a
// complete line: a file only grows at its end, loses a torn tail, or goes as a whole.
import { closeSync, ftruncateSync, openSync, readdirSync, readSync, renameSync, statSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { isValid } from '#base/schema';
import { type DecisionRecord, decisionRecord } from '#wire';
import { longestEntry } from './canonical.ts';

export interface Segment {
  readonly path: string;
  /** Sequence of the first record; the file's name, so even an empty file keeps the place in the sequence. */
  readonly first: number;
  /** Sequence of the last record, `first - 1` when there is none. */
  last: number;
  /** Bytes of complete lines. */
  bytes: number;
}

export interface Recovered {
  readonly segments: Segment[];
  /** The last complete record on disk. */
  readonly last: DecisionRecord | undefined;
  /** The newest file ended in the middle of a record, which has been cut off. */
  readonly torn: boolean;
}

export const segmentPath = (folder: string, first: number): string =>
  join(folder, `${String(first).padStart(16, '0')}.jsonl`);

/** Lists a folder's segments, oldest first, and cuts the newest one's torn tail. */
export function recoverSegments(folder: string): Recovered {
  const names = readdirSync(folder)
    .filter((name) => /^[0-9]{16}\.jsonl$/.test(name))
    .sort();
  const firsts = names.map((name) => Number(name.slice(0, 16)));
  const segments: Segment[] = firsts.map((first, index) => {
    const path = segmentPath(folder, first);
    return { path, first, last: (firsts[index + 1] ?? first) - 1, bytes: statSync(path).size };
  });
  const newest = segments.at(-1);
  if (!newest) return { segments, last: undefined, torn: false };
  const { last, bytes, torn } = repairSegment(newest);
  newest.bytes = bytes;
  newest.last = Math.max(newest.last, last?.seq ?? 0);
  return { segments, last, torn };
}

/** Cuts what follows the last complete, readable line of a file. A file without any is set aside, never overwritten. */
export function repairSegment(segment: Segment): { last: DecisionRecord | undefined; bytes: number; torn: boolean } {
  const file = openSync(segment.path, 'r+');
  try {
    const size = segment.bytes;
    const window = Buffer.alloc(Math.min(size, 4 * longestEntry));
    const start = size - window.length;
    readSync(file, window, 0, window.length, start);
    for (let end = window.lastIndexOf(10); end >= 0; ) {
      const begin = end === 0 ? -1 : window.lastIndexOf(10, end - 1);
      const last = parseLine(window.toString('utf8', begin + 1, end));
      const bytes = start + end + 1;
      if (last && bytes < size) ftruncateSync(file, bytes);
      if (last) return { last, bytes, torn: bytes < size };
      end = begin;
    }
    if (size > longestEntry) {
      renameSync(segment.path, `${segment.path}.damaged`);
      // No line of a record is shorter than 200 bytes: whatever sequence the file had reached, this is past it.
      segment.last = segment.first + Math.ceil(size / 200);
    } else ftruncateSync(file, 0);
    return { last: undefined, bytes: 0, torn: size > 0 };
  } finally {
    closeSync(file);
  }
}

/** Where the next read of a file may begin, so that reading on does not start over. */
export interface Cursor {
  readonly path: string;
  readonly seq: number;
  readonly offset: number;
}

/** At most `limit` records of one segment with `from <= seq <= through`; unreadable lines are left out (a hole in the sequence shows them). */
export async function readSegment(o: {
  readonly segment: Segment;
  readonly from: number;
  readonly through: number;
  readonly limit: number;
  readonly cursor: Cursor | undefined;
}): Promise<{ records: DecisionRecord[]; cursor: Cursor }> {
  const { segment, from, through, limit } = o;
  const records: DecisionRecord[] = [];
  const resumed = o.cursor?.path === segment.path && o.cursor.seq <= from;
  let offset = resumed ? o.cursor!.offset : 0;
  let seq = resumed ? o.cursor!.seq : segment.first;
  const file: FileHandle = await open(segment.path, 'r');
  try {
    const window = Buffer.alloc(4 * longestEntry);
    while (records.length < limit && offset < segment.bytes) {
      const { bytesRead } = await file.read(window, 0, Math.min(window.length, segment.bytes - offset), offset);
      if (bytesRead === 0) break;
      let begin = 0;
      for (let end = window.indexOf(10); end >= 0 && end < bytesRead; end = window.indexOf(10, begin)) {
        const record = parseLine(window.toString('utf8', begin, end));
        if (record && record.seq > through)
          return { records, cursor: { path: segment.path, seq, offset: offset + begin } };
        begin = end + 1;
        if (!record) continue;
        seq = record.seq + 1;
        if (record.seq >= from) records.push(record);
        if (records.length >= limit) break;
      }
      // Rubbish longer than any line is passed over.
      offset += begin === 0 ? bytesRead : begin;
    }
    return { records, cursor: { path: segment.path, seq, offset } };
  } finally {
    await file.close();
  }
}

function parseLine(text: string): DecisionRecord | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isValid(decisionRecord, value) ? value : undefined;
  } catch {
    return undefined;
  }
}

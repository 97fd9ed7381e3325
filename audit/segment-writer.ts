// Puts records at the end of the newest segment and makes them durable; rotates, limits and releases segments. Trusts neither the disk
// nor the folder: a file that vanished is written again, one that shrank is accounted for, and a failed write leaves no half line behind.
import { type FileHandle, open as openFile, rename, rm, stat } from 'node:fs/promises';
import { makePrivateFolder } from '#base/files';
import type { DecisionRecord } from '#wire';
import { encodeFitted } from './canonical.ts';
import type { Loss } from './losses.ts';
import { type Cursor, readSegment, recoverSegments, repairSegment, type Segment, segmentPath } from './segments.ts';

export type OpenFile = (path: string, flags: string, mode?: number) => Promise<FileHandle>;

export interface SegmentWriterOptions {
  readonly folder: string;
  readonly maxBytes: number;
  /** Whether unreleased records may go when `maxBytes` is reached; otherwise appending fails until some are released. */
  readonly mayDrop: boolean;
  readonly open?: OpenFile | undefined;
  readonly onLoss: (loss: Loss & { readonly path: string; readonly why: string }) => void;
  readonly onNotice: (message: string) => void;
}

interface Active {
  readonly segment: Segment;
  readonly file: FileHandle;
  /** Bytes of the segment known to be on the disk. */
  durableBytes: number;
  durableLast: number;
  readonly inode: number;
}

export function createSegmentWriter(o: SegmentWriterOptions) {
  const open = o.open ?? openFile;
  const segmentBytes = Math.min(8 * 2 ** 20, Math.max(16_384, Math.floor(o.maxBytes / 8)));
  const recovered = recoverSegments(o.folder);
  const segments = recovered.segments;
  let active: Active | undefined;
  let durable = segments.at(-1)?.last ?? 0;
  let released = 0;
  let cursor: Cursor | undefined;

  /** Opens the newest segment again, or begins one whose first record will be `seq`. */
  const activate = async (seq: number): Promise<Active> => {
    const newest = segments.at(-1);
    if (newest && newest.bytes < segmentBytes && newest.last < seq && (await fits(newest))) {
      const file = await open(newest.path, 'r+');
      const { ino, size } = await file.stat();
      if (size > newest.bytes) await file.truncate(newest.bytes);
      return { segment: newest, file, durableBytes: newest.bytes, durableLast: newest.last, inode: ino };
    }
    makePrivateFolder(o.folder);
    const path = segmentPath(o.folder, seq);
    await setAside(path);
    const file = await open(path, 'wx+', 0o600);
    const { ino } = await file.stat();
    const folder = await openFile(o.folder, 'r');
    await folder.sync().finally(() => folder.close());
    const segment: Segment = { path, first: seq, last: seq - 1, bytes: 0 };
    segments.push(segment);
    return { segment, file, durableBytes: 0, durableLast: seq - 1, inode: ino };
  };

  const retire = async (): Promise<void> => {
    const file = active?.file;
    active = undefined;
    await file?.close().catch(() => undefined);
  };

  const sync = async (): Promise<void> => {
    if (!active || active.durableBytes === active.segment.bytes) return;
    const { bytes, last } = active.segment;
    await active.file.datasync();
    active.durableBytes = bytes;
    active.durableLast = last;
    durable = last;
  };

  const remove = async (segment: Segment): Promise<void> => {
    segments.splice(segments.indexOf(segment), 1);
    await rm(segment.path, { force: true });
  };

  const makeRoom = async (incoming: number): Promise<void> => {
    const used = (): number => segments.reduce((sum, segment) => sum + segment.bytes, incoming);
    while (used() > o.maxBytes) {
      const oldest = segments[0];
      if (!oldest || oldest === active?.segment) return;
      if (oldest.last > released) {
        if (!o.mayDrop) throw new Error(`its size limit of ${o.maxBytes} bytes is reached`);
        lose('AUDIT_RETENTION', oldest, { after: Math.max(released, oldest.first - 1), why: 'the log is full' });
      }
      await remove(oldest);
    }
  };

  const lose = (reason: Loss['reason'], segment: Segment, o2: { after: number; why: string }): void => {
    const count = segment.last - o2.after;
    if (count > 0) o.onLoss({ reason, from: o2.after + 1, count, path: segment.path, why: o2.why });
  };

  /** False, with the loss accounted for, when a closed file is not what was left there. */
  const fits = async (segment: Segment): Promise<boolean> => {
    const found = await stat(segment.path).catch(() => undefined);
    if (found && found.size >= segment.bytes) return true;
    damaged(segment, found?.size);
    return false;
  };

  /** Counts what a file has lost; what is left of it stays readable, and the next record begins a new file. */
  const damaged = (segment: Segment, size: number | undefined): void => {
    const before = { ...segment };
    if (size === undefined) segments.splice(segments.indexOf(segment), 1);
    else {
      segment.bytes = size;
      const { last, bytes } = repairSegment(segment);
      segment.bytes = bytes;
      segment.last = before.last;
      if (last && last.seq > before.last) return;
      return lose('AUDIT_FILE_DAMAGED', before, {
        after: Math.max(released, last?.seq ?? before.first - 1),
        why: 'it was cut short',
      });
    }
    lose('AUDIT_FILE_DAMAGED', before, { after: Math.max(released, before.first - 1), why: 'it was removed' });
  };

  /** The file's name leads elsewhere: write what our handle still holds under that name again. */
  const restore = async (lostFile: Active): Promise<void> => {
    const { segment } = lostFile;
    const content = Buffer.alloc(segment.bytes);
    await lostFile.file.read(content, 0, content.length, 0);
    makePrivateFolder(o.folder);
    await setAside(segment.path);
    const file = await open(segment.path, 'wx+', 0o600);
    await file.write(content, 0, content.length, 0);
    await file.datasync();
    const { ino } = await file.stat();
    await lostFile.file.close().catch(() => undefined);
    active = { segment, file, durableBytes: segment.bytes, durableLast: segment.last, inode: ino };
    o.onNotice(`${segment.path} was removed while open and has been written again`);
  };

  return {
    lastSeq: durable,
    lastRecord: recovered.last,
    torn: recovered.torn ? segments.at(-1)!.path : undefined,
    get durable(): number {
      return durable;
    },
    get synced(): boolean {
      return !active || active.durableBytes === active.segment.bytes;
    },

    /** Looks whether the open file is still the one of that name, and as long as it was left. */
    async check(): Promise<void> {
      if (!active) return;
      const found = await stat(active.segment.path).catch(() => undefined);
      if (!found || found.ino !== active.inode) return restore(active);
      if (found.size >= active.segment.bytes) return;
      const { segment } = active;
      await retire();
      damaged(segment, found.size);
    },

    /** Writes whole lines at the end, of records that `fitRecord` gave; they are durable after `sync`. On failure nothing counts as written. */
    async append(records: readonly DecisionRecord[]): Promise<void> {
      const bytes = Buffer.from(records.map(encodeFitted).join(''));
      if (active && active.segment.bytes >= segmentBytes) {
        await sync();
        await retire();
      }
      active ??= await activate(records[0]!.seq);
      await makeRoom(bytes.length);
      const { segment, file } = active;
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await file.write(bytes, done, bytes.length - done, segment.bytes + done);
        done += bytesWritten;
      }
      segment.bytes += bytes.length;
      segment.last = records.at(-1)!.seq;
    },

    sync,

    /** After a failure: forgets everything that is not durable, so that it can be written again. */
    async rewind(): Promise<void> {
      if (!active) return;
      const { segment, durableBytes, durableLast, file } = active;
      segment.bytes = durableBytes;
      segment.last = durableLast;
      await file.truncate(durableBytes).catch(() => undefined);
      await retire();
    },

    /** Durable records from `from` on. */
    async read(from: number, limit: number): Promise<DecisionRecord[]> {
      for (const segment of segments.filter(({ last }) => last >= from)) {
        try {
          const part = await readSegment({ segment, from, through: durable, limit, cursor });
          cursor = part.cursor;
          if (part.records.length > 0) return part.records;
        } catch (thrown) {
          if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown;
          if (segment !== active?.segment && segments.includes(segment)) damaged(segment, undefined);
        }
      }
      return [];
    },

    /** Removes whole closed files whose every record is kept elsewhere. */
    async release(through: number): Promise<void> {
      released = Math.max(released, through);
      const gone = segments.filter((segment, index) => segment.last <= released && index < segments.length - 1);
      for (const segment of gone) await remove(segment).catch(() => undefined);
    },

    close: async (): Promise<void> => {
      await retire();
    },
  };
}

/** A file of somebody else under our name is kept for whoever looks into it. */
async function setAside(path: string): Promise<void> {
  await rename(path, `${path}.foreign`).catch(() => undefined);
}

// A file system that loses power, as a model beside a real folder: every change below the folder is done and recorded, and `leftAt` says what a disk may hold
// when the power goes after so many of them. Names and cuts to a length are journaled: of those any beginning is kept, at least up to the last sync of a
// folder or whole file. Of what was written, each page is kept or not until its file was synced; so is a new length. After a failed sync pages count as
// clean, and may be lost although a later sync succeeds.
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { type Disk, realDisk } from '../../audit/disk.ts';

export interface Recording {
  /** How many changes there were so far. */
  readonly length: number;
  /** A call fails as `fails` says, which is asked before each. */
  fails: (call: string) => boolean;
  /** After so many changes the process is dead: no call does anything until this is set again. */
  diesAt: number;
  /** What may be on the disk when the power goes after the first `at` changes. `random` gives numbers from 0 to 1. */
  leftAt(at: number, random: () => number): Left;
  /** From here on nothing is recorded. */
  stop(): void;
}

/** Content of files and `undefined` for folders, by path below the root, folders first. */
export type Left = ReadonlyMap<string, Buffer | undefined>;

type Change =
  | { readonly what: 'file' | 'folder' | 'removed'; readonly path: string; readonly file?: number }
  | { readonly what: 'moved'; readonly path: string; readonly to: string }
  | { readonly what: 'cut'; readonly file: number; readonly length: number }
  | { readonly what: 'written'; readonly file: number; readonly at: number; readonly bytes: Buffer }
  | { readonly what: 'synced' | 'lost' | 'journaled'; readonly file: number };

const page = 4_096;

export function recordChanges(root: string): Recording {
  const start = readLeft(root);
  const changes: Change[] = [];
  /** Of what is there now. */
  const files = new Map<string, number>();
  const open = new Map<number, number>();
  let made = 0;
  const first = new Map<number, Buffer>();
  for (const [path, content] of start) {
    if (!content) continue;
    files.set(path, made);
    first.set(made++, content);
  }
  const real = { ...fs };
  const nameOf = (path: unknown): string | undefined => {
    const name = relative(root, String(path));
    return name.startsWith('..') ? undefined : name;
  };
  const recording: Recording = {
    get length() {
      return changes.length;
    },
    fails: () => false,
    diesAt: Number.POSITIVE_INFINITY,
    leftAt: (at, random) => replay({ start, first, files: new Map(), changes: changes.slice(0, at), random }),
    stop() {
      Object.assign(realDisk, { open: openReal, cut: cutReal, sync: syncReal });
      for (const name of Object.keys(patched) as (keyof typeof patched)[]) Object.assign(fs, { [name]: real[name] });
      syncBuiltinESMExports();
    },
  };
  const mayDie = (): void => {
    if (changes.length >= recording.diesAt) throw new Error('dead');
  };
  const mayFail = (call: string): void => {
    mayDie();
    if (recording.fails(call)) throw Object.assign(new Error(`EIO: injected, ${call}`), { code: 'EIO' });
  };
  const remove = (name: string): void => {
    files.delete(name);
    changes.push({ what: 'removed', path: name });
  };
  const sync = (call: 'fsyncSync' | 'fdatasyncSync') => (descriptor: number) => {
    const file = open.get(descriptor);
    mayDie();
    try {
      mayFail(call);
    } catch (thrown) {
      if (file !== undefined) changes.push({ what: 'lost', file });
      throw thrown;
    }
    if (file !== undefined) changes.push({ what: 'synced', file });
    // That of a folder, or of a file with everything about it, has the journal written.
    if (call === 'fsyncSync') changes.push({ what: 'journaled', file: -1 });
  };
  const patched = {
    openSync(path: string, flags: string, mode?: number) {
      const name = nameOf(path);
      if (name === undefined) return real.openSync(path, flags, mode);
      const isNew = !real.existsSync(path);
      if (flags !== 'r') mayFail('openSync');
      const descriptor = real.openSync(path, flags, mode);
      if (isNew) {
        files.set(name, made);
        changes.push({ what: 'file', path: name, file: made++ });
      }
      const file = files.get(name);
      if (file !== undefined) open.set(descriptor, file);
      if (!isNew && flags.startsWith('w')) changes.push({ what: 'cut', file: file!, length: 0 });
      return descriptor;
    },
    closeSync(descriptor: number) {
      open.delete(descriptor);
      real.closeSync(descriptor);
    },
    writeSync(descriptor: number, bytes: Uint8Array, from = 0, length = bytes.length - from, position?: number) {
      const file = open.get(descriptor);
      if (file === undefined) return real.writeSync(descriptor, bytes, from, length, position);
      mayDie();
      const isBroken = recording.fails('writeSync');
      const taken = isBroken ? length >> 1 : length;
      const copy = Buffer.from(bytes.subarray(from, from + taken));
      changes.push({ what: 'written', file, at: position ?? 0, bytes: copy });
      const done = real.writeSync(descriptor, bytes, from, taken, position);
      if (isBroken) throw Object.assign(new Error('ENOSPC: injected'), { code: 'ENOSPC' });
      return done;
    },
    writeFileSync(path: string, content: string | Uint8Array, how?: { mode?: number }) {
      if (nameOf(path) === undefined) return real.writeFileSync(path, content, how);
      const descriptor = fs.openSync(path, 'w', how?.mode);
      try {
        fs.writeSync(descriptor, Buffer.from(content as Uint8Array), 0);
      } finally {
        fs.closeSync(descriptor);
      }
    },
    ftruncateSync(descriptor: number, length = 0) {
      const file = open.get(descriptor);
      mayFail('ftruncateSync');
      real.ftruncateSync(descriptor, length);
      if (file !== undefined) changes.push({ what: 'cut', file, length });
    },
    truncateSync(path: string, length = 0) {
      const file = files.get(nameOf(path) ?? '');
      mayFail('truncateSync');
      real.truncateSync(path, length);
      if (file !== undefined) changes.push({ what: 'cut', file, length });
    },
    renameSync(path: string, to: string) {
      const [name, next] = [nameOf(path), nameOf(to)];
      mayFail('renameSync');
      real.renameSync(path, to);
      if (name === undefined || next === undefined) return;
      rename(files, name, next);
      changes.push({ what: 'moved', path: name, to: next });
    },
    mkdirSync(path: string, how?: { recursive?: boolean; mode?: number }) {
      const name = nameOf(path);
      if (name === undefined) return real.mkdirSync(path, how);
      if (real.existsSync(path) && how?.recursive) return;
      mayFail('mkdirSync');
      if (how?.recursive && name !== '') fs.mkdirSync(dirname(path), how);
      real.mkdirSync(path, { mode: how?.mode ?? 0o700 });
      changes.push({ what: 'folder', path: name });
    },
    rmdirSync(path: string) {
      mayDie();
      real.rmdirSync(path);
      remove(nameOf(path) ?? '..');
    },
    rmSync(path: string, how?: { recursive?: boolean; force?: boolean }) {
      const name = nameOf(path);
      if (name === undefined) return real.rmSync(path, how);
      mayDie();
      const found = real.lstatSync(path, { throwIfNoEntry: false });
      if (found?.isDirectory()) {
        for (const each of real.readdirSync(path)) fs.rmSync(join(path, each), how);
        return fs.rmdirSync(path);
      }
      real.rmSync(path, how);
      if (found) remove(name);
    },
    fsyncSync: (descriptor: number) => sync('fsyncSync')(descriptor),
    fdatasyncSync: (descriptor: number) => sync('fdatasyncSync')(descriptor),
  };
  Object.assign(fs, patched);
  const { open: openReal, cut: cutReal, sync: syncReal } = realDisk;
  Object.assign(realDisk, {
    open: patched.openSync,
    cut: patched.ftruncateSync,
    sync: patched.fdatasyncSync,
  } satisfies Partial<Disk>);
  syncBuiltinESMExports();
  return recording;
}

/** What is in a real folder. */
export function readLeft(root: string): Left {
  const found = fs.readdirSync(root, { recursive: true, withFileTypes: true });
  const paths = found.map((each) => ({ path: join(each.parentPath, each.name), isFolder: each.isDirectory() }));
  paths.sort((a, b) => a.path.length - b.path.length);
  return new Map(
    paths.map(({ path, isFolder }) => [relative(root, path), isFolder ? undefined : fs.readFileSync(path)]),
  );
}

/** Makes a folder of what was left. */
export function writeLeft(root: string, left: Left): void {
  fs.mkdirSync(root, { recursive: true, mode: 0o700 });
  for (const [path, content] of left)
    if (content) fs.writeFileSync(join(root, path), content, { mode: 0o600 });
    else fs.mkdirSync(join(root, path), { recursive: true, mode: 0o700 });
}

function rename<T>(names: Map<string, T>, from: string, to: string): void {
  for (const [name, value] of [...names]) {
    if (name !== from && !name.startsWith(`${from}/`)) continue;
    names.delete(name);
    names.set(`${to}${name.slice(from.length)}`, value);
  }
}

/** A file: as the disk has it and as the system has it, which pages differ, and its lengths since it was synced. */
interface Content {
  disk: Buffer;
  length: number;
  memory: Buffer;
  readonly dirty: Set<number>;
  /** Each with the number of its change, and whether the journal has it. */
  lengths: { readonly length: number; readonly change: number; readonly isCut: boolean }[];
}

function replay(o: {
  readonly start: Left;
  readonly first: ReadonlyMap<number, Buffer>;
  readonly files: Map<string, number>;
  readonly changes: readonly Change[];
  readonly random: () => number;
}): Left {
  const { start, changes, random } = o;
  const contents = new Map<number, Content>();
  for (const [file, content] of o.first) contents.set(file, contentOf(content));
  const of = (file: number): Content => {
    if (!contents.has(file)) contents.set(file, contentOf(Buffer.alloc(0)));
    return contents.get(file)!;
  };
  let journaled = 0;
  for (const [number, change] of changes.entries()) {
    if (change.what === 'written') write(of(change.file), change, number);
    if (change.what === 'cut') cut(of(change.file), change.length, number);
    if (change.what === 'journaled') journaled = number;
    if (change.what === 'synced') {
      // A cut that was not in the journal is there with the file's new length.
      if (of(change.file).lengths.some(({ isCut }) => isCut)) journaled = number;
      settle(of(change.file));
    }
    if (change.what === 'lost') lose(of(change.file), random);
    // The system writes when it pleases.
    if ('file' in change && random() < 0.05 && contents.has(change.file!)) writeBack(of(change.file!), random);
  }
  const dice = random();
  const kept = dice < 0.3 ? journaled : dice < 0.5 ? changes.length : between(journaled, changes.length, random);

  const names = new Map<string, number | undefined>();
  let known = 0;
  for (const [path, content] of start) names.set(path, content ? known++ : undefined);
  for (const change of changes.slice(0, kept)) {
    if (change.what === 'file') names.set(change.path, change.file!);
    if (change.what === 'folder') names.set(change.path, undefined);
    if (change.what === 'removed') names.delete(change.path);
    if (change.what === 'moved') rename(names, change.path, change.to);
  }
  names.delete('');
  const share = [0, 0.5, 1][Math.floor(random() * 3)]!;
  const left = [...names].map(([path, file]): [string, Buffer | undefined] => [
    path,
    file === undefined ? undefined : whatIsLeft(of(file), { kept, share, random }),
  ]);
  return new Map(left.sort(([a], [b]) => a.length - b.length));
}

const contentOf = (bytes: Buffer): Content => ({
  ...{ disk: bytes, length: bytes.length, memory: bytes, dirty: new Set<number>(), lengths: [] },
});

function resized(bytes: Buffer, length: number): Buffer {
  return length <= bytes.length ? bytes.subarray(0, length) : Buffer.concat([bytes], length);
}

function write(content: Content, { at, bytes }: { at: number; bytes: Buffer }, change: number): void {
  if (bytes.length === 0) return;
  const length = Math.max(content.memory.length, at + bytes.length);
  const isLonger = length > content.memory.length;
  content.memory = Buffer.from(resized(content.memory, length));
  bytes.copy(content.memory, at);
  for (let each = Math.floor(at / page); each * page < at + bytes.length; each++) content.dirty.add(each);
  if (isLonger) content.lengths.push({ length, change, isCut: false });
}

function cut(content: Content, length: number, change: number): void {
  content.memory = Buffer.from(resized(content.memory, length));
  content.lengths.push({ length, change, isCut: true });
}

function writePage(content: Content, each: number): void {
  const end = Math.min((each + 1) * page, content.memory.length);
  if (end <= each * page) return;
  content.disk = Buffer.from(resized(content.disk, Math.max(content.disk.length, end)));
  content.memory.copy(content.disk, each * page, each * page, end);
}

function lose(content: Content, random: () => number): void {
  for (const each of content.dirty) if (random() < 0.5) writePage(content, each);
  content.dirty.clear();
}

function settle(content: Content): void {
  for (const each of content.dirty) writePage(content, each);
  content.dirty.clear();
  content.length = content.memory.length;
  content.disk = Buffer.from(resized(content.disk, content.length));
  content.lengths = [];
}

function writeBack(content: Content, random: () => number): void {
  if (content.lengths.some(({ isCut }) => isCut)) return;
  for (const each of [...content.dirty]) {
    if (random() < 0.5) continue;
    writePage(content, each);
    content.dirty.delete(each);
  }
}

function whatIsLeft(content: Content, o: { kept: number; share: number; random: () => number }): Buffer {
  const { kept, share, random } = o;
  const copy = { ...content, dirty: new Set(content.dirty) };
  // Cuts are journaled in their order among the names; a length that grew is there or is not.
  const cutAt = content.lengths.findLastIndex(({ isCut, change }) => isCut && change < kept);
  let next = content.lengths.findIndex(({ isCut, change }) => isCut && change >= kept);
  if (next < 0) next = content.lengths.length;
  const possible = [cutAt < 0 ? content.length : content.lengths[cutAt]!.length];
  for (let at = cutAt + 1; at < next; at++) possible.push(content.lengths[at]!.length);
  const shortest = Math.min(
    ...content.lengths.slice(0, cutAt + 1).map(({ length, isCut }) => (isCut ? length : Number.POSITIVE_INFINITY)),
  );
  if (shortest < copy.disk.length) copy.disk = copy.disk.subarray(0, shortest);
  for (const each of copy.dirty) if (random() < share) writePage(copy, each);
  const length = share === 1 ? possible.at(-1)! : possible[Math.floor(random() * possible.length)]!;
  return Buffer.from(resized(copy.disk, length));
}

function between(from: number, to: number, random: () => number): number {
  return from + Math.floor(random() * (to - from + 1));
}

// A disk that fails on demand: opens real files whose writes, syncs or all operations throw while a fault is set.
import { type FileHandle, open } from 'node:fs/promises';
import type { OpenFile } from '../../audit/segment-writer.ts';

export interface FaultyDisk {
  readonly open: OpenFile;
  /** Error code that `on` throws from now on, or undefined to heal. */
  fail(
    fault:
      | { readonly code: string; readonly on: 'write' | 'datasync' | 'open'; readonly afterBytes?: number }
      | undefined,
  ): void;
  readonly writes: number;
}

export function createFaultyDisk(): FaultyDisk {
  let fault: Parameters<FaultyDisk['fail']>[0];
  let writes = 0;
  const broken = (): Error => Object.assign(new Error(`${fault!.code}: injected`), { code: fault!.code });
  const wrap = (file: FileHandle): FileHandle =>
    new Proxy(file, {
      get(target, name) {
        if (name === 'write')
          return async (bytes: Buffer, offset: number, length: number, position: number) => {
            writes++;
            if (fault?.on !== 'write') return target.write(bytes, offset, length, position);
            await target.write(bytes, offset, Math.min(length, fault.afterBytes ?? 0), position);
            throw broken();
          };
        if (name === 'datasync')
          return async () => {
            if (fault?.on === 'datasync') throw broken();
            return target.datasync();
          };
        const member = Reflect.get(target, name) as unknown;
        return typeof member === 'function' ? member.bind(target) : member;
      },
    });
  return {
    open: async (path, flags, mode) => {
      if (fault?.on === 'open') throw broken();
      return wrap(await open(path, flags, mode));
    },
    fail: (next) => {
      fault = next;
    },
    get writes() {
      return writes;
    },
  };
}

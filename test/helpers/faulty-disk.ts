// A disk that fails on demand: opens real files whose writes, syncs or openings throw while a fault is set.
import { writeSync } from 'node:fs';
import { type Disk, realDisk } from '../../audit/disk.ts';

export interface FaultyDisk extends Disk {
  /** Error code that `on` throws from now on, or undefined to heal. */
  fail(
    fault:
      | { readonly code: string; readonly on: 'write' | 'datasync' | 'open'; readonly afterBytes?: number }
      | undefined,
  ): void;
}

export function createFaultyDisk(): FaultyDisk {
  let fault: Parameters<FaultyDisk['fail']>[0];
  const broken = (): Error => Object.assign(new Error(`${fault!.code}: injected`), { code: fault!.code });
  return {
    open(path, flags, mode) {
      if (fault?.on === 'open') throw broken();
      return realDisk.open(path, flags, mode);
    },
    write(file, bytes, position) {
      if (fault?.on !== 'write') return realDisk.write(file, bytes, position);
      writeSync(file, bytes, 0, Math.min(bytes.length, fault.afterBytes ?? 0), position);
      throw broken();
    },
    cut: realDisk.cut,
    sync(file) {
      if (fault?.on === 'datasync') throw broken();
      realDisk.sync(file);
    },
    fail: (next) => {
      fault = next;
    },
  };
}

// The hosts file of this machine: names that its owner has given addresses to. Read again when it changes.
import { readFileSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import type { Address } from './dns.ts';

export interface HostsFile {
  /** `undefined`: it says nothing of that name, which is in lower case without a dot at its end. */
  addressesOf(name: string): readonly Address[] | undefined;
}

/** A file that is not there or cannot be read says nothing. */
export function createHostsFile(path: string): HostsFile {
  let stamp = '';
  let known: ReadonlyMap<string, readonly Address[]> = new Map();
  return {
    addressesOf(name) {
      const now = stampOf(path);
      if (now !== stamp) {
        stamp = now;
        known = read(path);
      }
      return known.get(name);
    },
  };
}

function stampOf(path: string): string {
  try {
    const { ino, size, mtimeMs } = statSync(path);
    return `${ino}.${size}.${mtimeMs}`;
  } catch {
    return '';
  }
}

const mostBytes = 1_048_576;

function read(path: string): ReadonlyMap<string, readonly Address[]> {
  const found = new Map<string, Address[]>();
  let text: string;
  try {
    text = readFileSync(path, 'latin1').slice(0, mostBytes);
  } catch {
    return found;
  }
  for (const line of text.split('\n')) {
    const [address = '', ...names] = line.replace(/#.*$/, '').trim().split(/\s+/);
    const family = isIP(address);
    if (family !== 4 && family !== 6) continue;
    for (const name of names) {
      const key = name.toLowerCase();
      const known = found.get(key);
      if (!known) found.set(key, [{ address, family }]);
      else if (!known.some((one) => one.address === address)) known.push({ address, family });
    }
  }
  return found;
}

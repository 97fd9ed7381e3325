// A second opinion on Merkle logs, written from RFC 6962 and the C2SP texts by another route than audit/merkle: everything recursive, from
// the entries or from the position, slow, WebCrypto for signatures, nothing shared.
import { createHash, webcrypto } from 'node:crypto';

const sha256 = (...parts: Uint8Array[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};
const zero = Uint8Array.of(0);
const one = Uint8Array.of(1);

/** RFC 6962 section 2.1, word for word. */
export function referenceRoot(entries: readonly Uint8Array[]): Buffer {
  if (entries.length === 0) return sha256();
  if (entries.length === 1) return sha256(zero, entries[0]!);
  const k = split(entries.length);
  return sha256(one, referenceRoot(entries.slice(0, k)), referenceRoot(entries.slice(k)));
}

/** RFC 6962 section 2.1.1. */
export function referencePath(m: number, entries: readonly Uint8Array[]): Buffer[] {
  if (entries.length === 1) return [];
  const k = split(entries.length);
  return m < k
    ? [...referencePath(m, entries.slice(0, k)), referenceRoot(entries.slice(k))]
    : [...referencePath(m - k, entries.slice(k)), referenceRoot(entries.slice(0, k))];
}

/** RFC 6962 section 2.1.2. */
export function referenceProof(m: number, entries: readonly Uint8Array[], whole = true): Buffer[] {
  if (m === entries.length) return whole ? [] : [referenceRoot(entries)];
  const k = split(entries.length);
  return m <= k
    ? [...referenceProof(m, entries.slice(0, k), whole), referenceRoot(entries.slice(k))]
    : [...referenceProof(m - k, entries.slice(k), false), referenceRoot(entries.slice(0, k))];
}

/** The root that a leaf and its path give, from the top down: which half the leaf is in decides the side. */
export function rootFromPath(o: { leaf: Uint8Array; m: number; n: number; path: readonly Uint8Array[] }): Buffer {
  if (o.n === 1) {
    if (o.path.length > 0) throw new Error('the path is too long');
    return Buffer.from(o.leaf);
  }
  const sibling = o.path.at(-1);
  if (!sibling) throw new Error('the path is too short');
  const k = split(o.n);
  const path = o.path.slice(0, -1);
  return o.m < k
    ? sha256(one, rootFromPath({ leaf: o.leaf, m: o.m, n: k, path }), sibling)
    : sha256(one, sibling, rootFromPath({ leaf: o.leaf, m: o.m - k, n: o.n - k, path }));
}

/** What a tlog-proof says, checked from its text alone; throws with the reason when it is not good. */
export async function referenceVerify(o: {
  readonly receipt: string;
  readonly entry: Uint8Array;
  readonly vkey: string;
}): Promise<{ origin: string; size: number; index: number }> {
  const lines = o.receipt.split('\n');
  if (lines.shift() !== 'c2sp.org/tlog-proof@v1') throw new Error('not a tlog-proof');
  if (lines[0]?.startsWith('extra ')) lines.shift();
  const index = Number(/^index (\d+)$/.exec(lines.shift() ?? '')![1]);
  const blank = lines.indexOf('');
  const path = lines.slice(0, blank).map((line) => Buffer.from(line, 'base64'));
  const note = lines.slice(blank + 1);
  const [origin, size, root] = note as [string, string, string];
  const text = Buffer.from(`${note.slice(0, note.lastIndexOf('', note.length - 2)).join('\n')}\n`);

  const [name, id, material] = [o.vkey.split('+')[0]!, o.vkey.split('+')[1]!, o.vkey.split('+').slice(2).join('+')];
  const key = Buffer.from(material, 'base64');
  if (
    sha256(Buffer.from(`${name}\n`), key)
      .subarray(0, 4)
      .toString('hex') !== id
  )
    throw new Error('wrong key id');
  if (name !== origin) throw new Error('the key is of another log');
  const line = note.find((each) => each.startsWith(`— ${name} `) && idOf(each) === id);
  if (!line) throw new Error('not signed by the key');
  const imported = await webcrypto.subtle.importKey('raw', key.subarray(1), 'Ed25519', false, ['verify']);
  const signature = Buffer.from(line.split(' ')[2]!, 'base64').subarray(4);
  if (!(await webcrypto.subtle.verify('Ed25519', imported, signature, text))) throw new Error('bad signature');

  const found = rootFromPath({ leaf: sha256(zero, o.entry), m: index, n: Number(size), path });
  if (found.toString('base64') !== root) throw new Error('the entry is not in the tree');
  return { origin, size: Number(size), index };
}

const idOf = (line: string): string => Buffer.from(line.split(' ')[2]!, 'base64').subarray(0, 4).toString('hex');

function split(n: number): number {
  let k = 1;
  while (k + k < n) k += k;
  return k;
}

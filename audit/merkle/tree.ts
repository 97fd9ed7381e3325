// Proofs about an RFC 6962 tree: that an entry is in it, and that a later tree only appended to an earlier one. Proofs are made by the
// recursive definitions of RFC 6962 section 2.1 and checked by the iterative algorithms of RFC 9162 section 2.1. A check never throws.
import { emptyRoot, nodeHash } from './hash.ts';

/** The root of the whole subtree over the leaves `index * 2^level` to `(index + 1) * 2^level`; throws when it is not kept. */
export type HashAt = (level: number, index: number) => Uint8Array;

/** MTH(D[n]). */
export function treeRoot(size: number, hashAt: HashAt): Uint8Array {
  return size === 0 ? emptyRoot : rangeRoot(0, size, hashAt);
}

/** PATH(index, D[size]): the siblings from the leaf up. */
export function proveInclusion(o: { readonly index: number; readonly size: number }, hashAt: HashAt): Uint8Array[] {
  if (!(Number.isSafeInteger(o.index) && o.index >= 0 && o.index < o.size))
    throw new RangeError(`there is no leaf ${o.index} in a tree of ${o.size}`);
  const path = (index: number, start: number, end: number): Uint8Array[] => {
    if (end - start === 1) return [];
    const middle = start + splitOf(end - start);
    return index < middle
      ? [...path(index, start, middle), rangeRoot(middle, end, hashAt)]
      : [...path(index, middle, end), rangeRoot(start, middle, hashAt)];
  };
  return path(o.index, 0, o.size);
}

/** PROOF(from, D[to]); empty when nothing has to be proved (`from` is 0 or `to`). */
export function proveConsistency(o: { readonly from: number; readonly to: number }, hashAt: HashAt): Uint8Array[] {
  if (!(Number.isSafeInteger(o.from) && o.from >= 0 && o.from <= o.to))
    throw new RangeError(`a tree of ${o.to} does not follow one of ${o.from}`);
  if (o.from === 0) return [];
  /** `whole`: the subtree is one that the old tree had too, whose root the verifier knows. */
  const subproof = (from: number, range: readonly [number, number], whole: boolean): Uint8Array[] => {
    const [start, end] = range;
    if (from === end - start) return whole ? [] : [rangeRoot(start, end, hashAt)];
    const middle = start + splitOf(end - start);
    return from <= middle - start
      ? [...subproof(from, [start, middle], whole), rangeRoot(middle, end, hashAt)]
      : [...subproof(from - (middle - start), [middle, end], false), rangeRoot(start, middle, hashAt)];
  };
  return subproof(o.from, [0, o.to], true);
}

/** RFC 9162 section 2.1.3.2. */
export function isIncluded(o: {
  readonly index: number;
  readonly size: number;
  readonly leaf: Uint8Array;
  readonly proof: readonly Uint8Array[];
  readonly root: Uint8Array;
}): boolean {
  if (!isSize(o.index) || !isSize(o.size) || o.index >= o.size) return false;
  let [node, last] = [o.index, o.size - 1];
  let found = o.leaf;
  for (const sibling of o.proof) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      found = nodeHash(sibling, found);
      while (node % 2 === 0 && node !== 0) [node, last] = [half(node), half(last)];
    } else found = nodeHash(found, sibling);
    [node, last] = [half(node), half(last)];
  }
  return last === 0 && isSame(found, o.root);
}

/** RFC 9162 section 2.1.4.2. */
export function isConsistent(o: {
  readonly from: number;
  readonly fromRoot: Uint8Array;
  readonly to: number;
  readonly toRoot: Uint8Array;
  readonly proof: readonly Uint8Array[];
}): boolean {
  const { from, to, fromRoot, toRoot } = o;
  if (!isSize(from) || !isSize(to) || from > to) return false;
  if (from === to) return o.proof.length === 0 && isSame(fromRoot, toRoot);
  if (from === 0) return o.proof.length === 0 && isSame(fromRoot, emptyRoot);
  const proof = isPowerOfTwo(from) ? [fromRoot, ...o.proof] : o.proof;
  const [first, ...rest] = proof;
  if (!first) return false;
  let [node, last] = [from - 1, to - 1];
  while (node % 2 === 1) [node, last] = [half(node), half(last)];
  let [before, after] = [first, first];
  for (const sibling of rest) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      before = nodeHash(sibling, before);
      after = nodeHash(sibling, after);
      while (node % 2 === 0 && node !== 0) [node, last] = [half(node), half(last)];
    } else after = nodeHash(after, sibling);
    [node, last] = [half(node), half(last)];
  }
  return last === 0 && isSame(before, fromRoot) && isSame(after, toRoot);
}

/** MTH over the leaves `start` to `end`, where `start` is a multiple of the largest power of two below the length. */
function rangeRoot(start: number, end: number, hashAt: HashAt): Uint8Array {
  const length = end - start;
  if (isPowerOfTwo(length)) return hashAt(Math.log2(length), start / length);
  const middle = start + splitOf(length);
  return nodeHash(rangeRoot(start, middle, hashAt), rangeRoot(middle, end, hashAt));
}

/** The largest power of two below `length` (2 or more). */
function splitOf(length: number): number {
  let power = 1;
  while (power * 2 < length) power *= 2;
  return power;
}

function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(Math.log2(value)) && 2 ** Math.log2(value) === value;
}

const half = (value: number): number => Math.floor(value / 2);
const isSize = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

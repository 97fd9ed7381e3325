// Roots, proofs and their checks against known answers and against a second implementation by another route, for every small tree.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { emptyRoot, leafHash, perfectRoot } from '../../../audit/merkle/hash.ts';
import { bundlePath, numberPath, parseNumberPath, tilePath, widthOf } from '../../../audit/merkle/tile-path.ts';
import {
  type HashAt,
  isConsistent,
  isIncluded,
  proveConsistency,
  proveInclusion,
  treeRoot,
} from '../../../audit/merkle/tree.ts';
import { referencePath, referenceProof, referenceRoot } from '../../helpers/reference-log.ts';

const entriesOf = (count: number): Buffer[] =>
  Array.from({ length: count }, (_, index) => Buffer.from(`entry ${index}`));
const hashesOf = (entries: readonly Uint8Array[]): HashAt => {
  const leaves = entries.map(leafHash);
  return (level, index) => perfectRoot(leaves, index * 2 ** level, 2 ** level);
};
const hex = (hashes: readonly Uint8Array[]): string[] => hashes.map((hash) => Buffer.from(hash).toString('hex'));

// The test vectors of the certificate-transparency code base.
const known = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'];
const knownRoots = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];

describe('the tree', () => {
  test('has the roots that certificate transparency gives for its vectors', () => {
    const entries = known.map((text) => Buffer.from(text, 'hex'));
    expect(emptyRoot.toString('hex')).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
    for (const [index, root] of knownRoots.entries())
      expect(hex([treeRoot(index + 1, hashesOf(entries.slice(0, index + 1)))])).toEqual([root]);
  });

  test('every inclusion and consistency proof of every tree up to 40 leaves is the reference one, and holds', () => {
    const all = entriesOf(40);
    for (let size = 1; size <= all.length; size++) {
      const entries = all.slice(0, size);
      const hashAt = hashesOf(entries);
      const root = treeRoot(size, hashAt);
      expect(hex([root])).toEqual(hex([referenceRoot(entries)]));
      for (let index = 0; index < size; index++) {
        const proof = proveInclusion({ index, size }, hashAt);
        expect(hex(proof)).toEqual(hex(referencePath(index, entries)));
        expect(isIncluded({ index, size, leaf: leafHash(entries[index]!), proof, root })).toBe(true);
      }
      for (let from = 1; from <= size; from++) {
        const proof = proveConsistency({ from, to: size }, hashAt);
        expect(hex(proof)).toEqual(hex(referenceProof(from, entries)));
        const fromRoot = referenceRoot(entries.slice(0, from));
        expect(isConsistent({ from, fromRoot, to: size, toRoot: root, proof })).toBe(true);
      }
    }
  });

  test('no proof holds for another leaf, index, size, root or with a hash changed, added or left out', () => {
    const size = fc.integer({ min: 2, max: 200 });
    fc.assert(
      fc.property(size, fc.nat(), fc.nat(), fc.integer({ min: 0, max: 6 }), (n, at, other, damage) => {
        const entries = entriesOf(n);
        const hashAt = hashesOf(entries);
        const index = at % n;
        const good = { index, size: n, leaf: leafHash(entries[index]!), root: treeRoot(n, hashAt) };
        const proof = proveInclusion({ index, size: n }, hashAt);
        const flipped = Buffer.from(proof[other % proof.length]!);
        flipped[other % 32]! ^= 1;
        const damaged = [
          { ...good, proof, leaf: leafHash(Buffer.from('another')) },
          { ...good, proof, index: (index + 1 + (other % (n - 1))) % n },
          { ...good, proof: proof.with(other % proof.length, flipped) },
          { ...good, proof: [...proof, flipped] },
          { ...good, proof: proof.slice(1) },
          { ...good, proof, root: flipped },
          { ...good, proof, index: -1 },
        ][damage]!;
        expect(isIncluded(damaged)).toBe(false);
      }),
    );
  });

  test('a fork, a rollback and a forged proof are not consistent', () => {
    const entries = entriesOf(100);
    const [hashAt, forked] = [hashesOf(entries), hashesOf(entries.with(10, Buffer.from('edited')))];
    for (const from of [11, 32, 50, 64, 99]) {
      const proof = proveConsistency({ from, to: 100 }, hashAt);
      const whole = { from, fromRoot: treeRoot(from, hashAt), to: 100, toRoot: treeRoot(100, hashAt), proof };
      expect(isConsistent(whole)).toBe(true);
      expect(isConsistent({ ...whole, toRoot: treeRoot(100, forked) })).toBe(false);
      expect(isConsistent({ ...whole, fromRoot: treeRoot(from, forked) })).toBe(false);
      // A proof from a power of two holds no hash of the old tree, so there is nothing in it to forge.
      const forged = { ...whole, proof: proveConsistency({ from, to: 100 }, forked) };
      expect(isConsistent(forged)).toBe(Number.isInteger(Math.log2(from)));
      expect(isConsistent({ ...whole, proof: proof.slice(1) })).toBe(false);
      expect(isConsistent({ ...whole, from: 100, to: from, proof })).toBe(false);
    }
    expect(isConsistent({ from: 0, fromRoot: emptyRoot, to: 100, toRoot: treeRoot(100, hashAt), proof: [] })).toBe(
      true,
    );
    expect(() => proveInclusion({ index: 100, size: 100 }, hashAt)).toThrow(RangeError);
    expect(() => proveConsistency({ from: 101, to: 100 }, hashAt)).toThrow(RangeError);
  });
});

describe('the layout', () => {
  test('is that of tlog-tiles', () => {
    expect(tilePath(0, 0)).toBe('tile/0/000');
    expect(tilePath(2, 1_234_067)).toBe('tile/2/x001/x234/067');
    expect(bundlePath(273, 112)).toBe('tile/entries/273.p/112');
    expect(bundlePath(1_000)).toBe('tile/entries/x001/000');
    // The example of the specification: a tree of 70 000 leaves.
    const widths = [0, 1, 2, 3].map((level) => {
      const full = Math.floor(70_000 / 256 ** (level + 1));
      return [full, widthOf({ level, index: full, size: 70_000 })];
    });
    expect(widths).toEqual([
      [273, 112],
      [1, 17],
      [0, 1],
      [0, 0],
    ]);
  });

  test('a path gives its number back, and nothing else does', () => {
    for (const index of [0, 7, 999, 1_000, 999_999, 1_000_000, 1_234_067])
      expect(parseNumberPath(numberPath(index))).toBe(index);
    for (const path of ['', '1', '0000', 'x000/001', '001.p', '001.p/4', 'x001', '../001'])
      expect(parseNumberPath(path)).toBeUndefined();
  });
});

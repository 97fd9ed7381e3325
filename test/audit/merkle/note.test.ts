// Signed notes, checkpoints, cosignatures and receipts: the published examples, and whatever is not quite one of them.
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import {
  cosign,
  cosignedAt,
  formatCheckpoint,
  readCheckpoint,
  signCheckpoint,
  verifyCheckpoint,
} from '../../../audit/merkle/checkpoint.ts';
import { leafHash, perfectRoot } from '../../../audit/merkle/hash.ts';
import {
  formatVerifierKey,
  type KeyKind,
  type NoteKey,
  parseNote,
  parseVerifierKey,
  rawPublicKey,
  signNote,
  verifyNote,
} from '../../../audit/merkle/note.ts';
import { formatReceipt, parseReceipt, verifyReceipt } from '../../../audit/merkle/receipt.ts';
import { proveInclusion, treeRoot } from '../../../audit/merkle/tree.ts';
import { referenceVerify } from '../../helpers/reference-log.ts';

// The example of golang.org/x/mod/sumdb/note.
const vkey = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
const seed = Buffer.from('AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz', 'base64').subarray(1);
const text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const signature =
  '— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n';
const peter = createPrivateKey({
  key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]),
  format: 'der',
  type: 'pkcs8',
});

const keyPair = (): KeyObject => generateKeyPairSync('ed25519').privateKey;
const noteKey = (name: string, key: KeyObject, kind: KeyKind = 1): NoteKey => ({
  ...{ name, kind, publicKey: rawPublicKey(key) },
});

describe('notes', () => {
  test('are signed and verified as Go signs and verifies them', () => {
    expect(signNote(text, { name: 'PeterNeumann', key: peter })).toBe(`${text}\n${signature}`);
    expect(formatVerifierKey(noteKey('PeterNeumann', peter))).toBe(vkey);
    expect(verifyNote(parseNote(`${text}\n${signature}`)!, parseVerifierKey(vkey)!)).toBe(true);
  });

  test('a part of a key, or a key with one character changed, is no key', () => {
    for (let start = 0; start <= vkey.length; start++)
      for (let end = start + 1; end <= vkey.length; end += 3)
        if (start > 0 || end < vkey.length) expect(parseVerifierKey(vkey.slice(start, end))).toBeUndefined();
    for (let at = 0; at < vkey.length; at++) {
      const changed = vkey.slice(0, at) + String.fromCharCode(vkey.charCodeAt(at) + 1) + vkey.slice(at + 1);
      expect(parseVerifierKey(changed)).toBeUndefined();
    }
  });

  test('the text ends at the last empty line; control characters, missing signatures and broken lines make it no note', () => {
    expect(parseNote(`a\n\nb\n\n${signature}`)?.text).toBe('a\n\nb\n');
    const broken = [
      '',
      'a\n',
      `a\n${signature}`,
      `a\r\n\n${signature}`,
      `a\n\n${signature}x\n`,
      `a\n\n${signature.trim()}`,
    ];
    for (const each of broken) expect(parseNote(each)).toBeUndefined();
  });

  test('one bad signature under the name and id of the key spoils the note; those of other keys are passed over', () => {
    const stranger = signNote(text, { name: 'x', key: keyPair() }).slice(text.length + 1);
    const key = parseVerifierKey(vkey)!;
    expect(verifyNote(parseNote(`${text}\n${stranger}${signature}`)!, key)).toBe(true);
    expect(verifyNote(parseNote(`${text}\n${stranger}`)!, key)).toBe(false);
    const bad = signature.replace('ZJkuBS', 'ZJkuBT');
    expect(verifyNote(parseNote(`${text}\n${signature}${bad}`)!, key)).toBe(false);
    expect(verifyNote(parseNote(`x${text}\n${signature}`)!, key)).toBe(false);
  });
});

describe('checkpoints', () => {
  const root = Buffer.alloc(32, 7);
  const checkpoint = { origin: 'example.org/payments/i-1', size: 42, root };
  const key = keyPair();
  const note = signCheckpoint(checkpoint, key);

  test('say origin, size and root, and verify with the key of their origin only', () => {
    expect(verifyCheckpoint(note, noteKey(checkpoint.origin, key))).toEqual(checkpoint);
    expect(verifyCheckpoint(note, noteKey(checkpoint.origin, keyPair()))).toBeUndefined();
    expect(verifyCheckpoint(note, noteKey('example.org/other', key))).toBeUndefined();
    expect(verifyCheckpoint(note.replace('\n42\n', '\n43\n'), noteKey(checkpoint.origin, key))).toBeUndefined();
  });

  test.each(['042', '-1', '1e3', '4 2', '99999999999999999'])('a size of %s is none', (size) => {
    const odd = formatCheckpoint(checkpoint).replace('\n42\n', `\n${size}\n`);
    expect(readCheckpoint(signNote(odd, { name: checkpoint.origin, key }))).toBeUndefined();
  });

  test('the example of tlog-cosignature is read, with the time that it was cosigned at', () => {
    const example = `example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
`;
    expect(readCheckpoint(example)).toMatchObject({ origin: 'example.com/behind-the-sofa', size: 20_852_163 });
    const witness = Buffer.from(parseNote(example)!.signatures[1]!.signature);
    expect([witness.length, Number(witness.readBigUInt64BE())]).toEqual([72, 1_679_315_147]);
  });

  test('a cosignature holds for its checkpoint, its witness and its time only', () => {
    const witness = keyPair();
    const line = cosign(note, { name: 'example.org/postern/witness', key: witness, time: 1_700_000_000 });
    const verifier = parseVerifierKey(formatVerifierKey(noteKey('example.org/postern/witness', witness, 4)))!;
    expect(cosignedAt(note + line, verifier)).toBe(1_700_000_000);
    expect(verifyCheckpoint(note + line, noteKey(checkpoint.origin, key))).toEqual(checkpoint);
    expect(cosignedAt(note, verifier)).toBeUndefined();
    expect(cosignedAt(signCheckpoint({ ...checkpoint, size: 43 }, key) + line, verifier)).toBeUndefined();
    expect(cosignedAt(note + line, noteKey('example.org/postern/witness', keyPair(), 4))).toBeUndefined();
    expect(cosignedAt(note + line, { ...verifier, kind: 1 })).toBeUndefined();
  });
});

describe('receipts', () => {
  const key = keyPair();
  const entries = Array.from({ length: 70 }, (_, index) => Buffer.from(`entry ${index}`));
  const leaves = entries.map(leafHash);
  const hashAt = (level: number, index: number) => perfectRoot(leaves, index * 2 ** level, 2 ** level);
  const checkpoint = signCheckpoint({ origin: 'example.org/log', size: 70, root: treeRoot(70, hashAt) }, key);
  const receiptOf = (index: number) => ({ index, proof: proveInclusion({ index, size: 70 }, hashAt), checkpoint });

  test('verify here and with the reference implementation, for every entry', async () => {
    for (const [index, entry] of entries.entries()) {
      const receipt = formatReceipt({ ...receiptOf(index), extra: entry });
      const parsed = parseReceipt(receipt)!;
      expect(parsed.extra).toEqual(entry);
      expect(verifyReceipt(parsed, { entry, key: noteKey('example.org/log', key) })).toMatchObject({ good: true });
      const reference = { receipt, entry, vkey: formatVerifierKey(noteKey('example.org/log', key)) };
      expect(await referenceVerify(reference)).toEqual({ origin: 'example.org/log', size: 70, index });
    }
  });

  test('of a tree of one entry have no hashes', () => {
    const single = signCheckpoint({ origin: 'example.org/log', size: 1, root: leaves[0]! }, key);
    const parsed = parseReceipt(formatReceipt({ index: 0, proof: [], checkpoint: single }))!;
    expect(verifyReceipt(parsed, { entry: entries[0]!, key: noteKey('example.org/log', key) }).good).toBe(true);
  });

  test('do not verify for another entry, key or missing witness', () => {
    const own = noteKey('example.org/log', key);
    const entry = entries[3]!;
    expect(verifyReceipt(receiptOf(3), { entry: entries[4]!, key: own })).toMatchObject({ good: false });
    expect(verifyReceipt({ ...receiptOf(3), index: 4 }, { entry, key: own })).toMatchObject({ good: false });
    expect(verifyReceipt(receiptOf(3), { entry, key: noteKey('example.org/log', keyPair()) })).toMatchObject({
      good: false,
      why: expect.stringContaining('not signed'),
    });
    const witness = noteKey('example.org/postern/witness', keyPair(), 4);
    expect(verifyReceipt(receiptOf(3), { entry, key: own, witness })).toMatchObject({ good: false });
  });

  test.each([
    ['another first line', (text: string) => text.replace('@v1', '@v2')],
    ['an index with a zero in front', (text: string) => text.replace('index 3', 'index 03')],
    ['no index', (text: string) => text.replace('index 3\n', '')],
    ['a short hash', (text: string) => text.replace(/=\n/, 'A=\n')],
    ['no blank line', (text: string) => text.replace('\n\n', '\n')],
    ['extra data that is not base64', (text: string) => text.replace('index', 'extra !\nindex')],
  ])('with %s are none', (_, damage) => {
    const parsed = parseReceipt(damage(formatReceipt(receiptOf(3))));
    if (parsed)
      expect(verifyReceipt(parsed, { entry: entries[3]!, key: noteKey('example.org/log', key) }).good).toBe(false);
  });
});

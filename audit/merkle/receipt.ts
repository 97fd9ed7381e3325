// Receipts (c2sp.org/tlog-proof@v1): a record's place in a log, proved against a signed checkpoint, in one file that needs nothing else.
import { type Checkpoint, cosignedAt, verifyCheckpoint } from './checkpoint.ts';
import { hashBytes, leafHash } from './hash.ts';
import { decodeBase64, type NoteKey } from './note.ts';
import { isIncluded } from './tree.ts';

export interface Receipt {
  /** Not authenticated by itself: here it carries the record, whose hash is what the proof is about. */
  readonly extra?: Uint8Array;
  readonly index: number;
  readonly proof: readonly Uint8Array[];
  /** The signed note, verbatim. */
  readonly checkpoint: string;
}

const header = 'c2sp.org/tlog-proof@v1';
/** A tree of 2^53 leaves has no longer paths. */
const longestProof = 64;

export function formatReceipt({ extra, index, proof, checkpoint }: Receipt): string {
  const extraLine = extra ? [`extra ${Buffer.from(extra).toString('base64')}`] : [];
  const hashes = proof.map((hash) => Buffer.from(hash).toString('base64'));
  return `${[header, ...extraLine, `index ${index}`, ...hashes].join('\n')}\n\n${checkpoint}`;
}

/** `undefined` when the text is not a receipt. */
export function parseReceipt(text: string): Receipt | undefined {
  const split = text.indexOf('\n\n');
  if (split < 0) return undefined;
  const [first, ...lines] = text.slice(0, split).split('\n');
  const extraLine = lines[0]?.startsWith('extra ') ? lines.shift() : undefined;
  const extra = extraLine === undefined ? undefined : decodeBase64(extraLine.slice('extra '.length));
  const [, digits] = /^index (0|[1-9][0-9]{0,15})$/.exec(lines.shift() ?? '') ?? [];
  const proof = lines.map(decodeBase64);
  if (first !== header || digits === undefined || (extraLine !== undefined && !extra)) return undefined;
  if (proof.length > longestProof || !proof.every((hash) => hash?.length === hashBytes)) return undefined;
  return {
    ...(extra ? { extra } : {}),
    ...{ index: Number(digits), proof: proof as Buffer[], checkpoint: text.slice(split + 2) },
  };
}

export type ReceiptVerdict =
  | { readonly good: true; readonly checkpoint: Checkpoint; readonly cosignedAt?: number }
  | { readonly good: false; readonly why: string };

/** Whether the entry is in the log of that key; with a witness key, only when the witness cosigned the checkpoint. */
export function verifyReceipt(
  receipt: Receipt,
  o: { readonly entry: Uint8Array; readonly key: NoteKey; readonly witness?: NoteKey | undefined },
): ReceiptVerdict {
  const checkpoint = verifyCheckpoint(receipt.checkpoint, o.key);
  if (!checkpoint) return { good: false, why: `its checkpoint is not signed by the key of ${o.key.name}` };
  const leaf = leafHash(o.entry);
  const { size, root } = checkpoint;
  if (!isIncluded({ index: receipt.index, size, leaf, proof: receipt.proof, root }))
    return { good: false, why: `the record is not entry ${receipt.index} of the log` };
  if (!o.witness) return { good: true, checkpoint };
  const time = cosignedAt(receipt.checkpoint, o.witness);
  if (time === undefined) return { good: false, why: `the witness ${o.witness.name} did not cosign its checkpoint` };
  return { good: true, checkpoint, cosignedAt: time };
}

// Checkpoints (c2sp.org/tlog-checkpoint): what a log says its tree is, signed; and what a witness adds (c2sp.org/tlog-cosignature).
import { type KeyObject, sign } from 'node:crypto';
import { hashBytes } from './hash.ts';
import {
  decodeBase64,
  isSigned,
  keyIdOf,
  type NoteKey,
  parseNote,
  rawPublicKey,
  signatureLine,
  signNote,
  verifyNote,
} from './note.ts';

export interface Checkpoint {
  /** The log's name. */
  readonly origin: string;
  readonly size: number;
  readonly root: Uint8Array;
}

/** The signed checkpoint; the key's name is the origin. */
export function signCheckpoint(checkpoint: Checkpoint, key: KeyObject): string {
  return signNote(formatCheckpoint(checkpoint), { name: checkpoint.origin, key });
}

/** The text that is signed. */
export function formatCheckpoint({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${Buffer.from(root).toString('base64')}\n`;
}

/** What an unverified note says; `undefined` when it is not a checkpoint. Extension lines are passed over. */
export function readCheckpoint(note: string): Checkpoint | undefined {
  const [origin, digits, encoded] = parseNote(note)?.text.split('\n') ?? [];
  const root = decodeBase64(encoded ?? '');
  if (!origin || /[\s+]/.test(origin) || !/^(0|[1-9][0-9]{0,15})$/.test(digits ?? '')) return undefined;
  const size = Number(digits);
  return root?.length === hashBytes && Number.isSafeInteger(size) ? { origin, size, root } : undefined;
}

/** The checkpoint when it is of the key's log and signed by the key. */
export function verifyCheckpoint(note: string, key: NoteKey): Checkpoint | undefined {
  const checkpoint = readCheckpoint(note);
  return checkpoint?.origin === key.name && verifyNote(parseNote(note)!, key) ? checkpoint : undefined;
}

/** The line that a witness adds under a checkpoint it found consistent. `time`: seconds since the epoch. */
export function cosign(
  note: string,
  witness: { readonly name: string; readonly key: KeyObject; readonly time: number },
): string {
  const { name, key, time } = witness;
  const stamp = Buffer.alloc(8);
  stamp.writeBigUInt64BE(BigInt(time));
  const signature = sign(null, cosignedMessage(parseNote(note)!.text, time), key);
  return signatureLine({ name, kind: 4, publicKey: rawPublicKey(key) }, Buffer.concat([stamp, signature]));
}

/** When the witness cosigned the checkpoint, in seconds since the epoch; `undefined` when it did not. */
export function cosignedAt(note: string, witness: NoteKey): number | undefined {
  const parsed = parseNote(note);
  const id = keyIdOf(witness);
  for (const { name, keyId, signature } of parsed?.signatures ?? []) {
    if (name !== witness.name || keyId !== id || signature.length !== 72) continue;
    const time = Number(Buffer.from(signature).readBigUInt64BE());
    const message = cosignedMessage(parsed!.text, time);
    if (Number.isSafeInteger(time) && isSigned(message, signature.subarray(8), witness.publicKey)) return time;
  }
  return undefined;
}

function cosignedMessage(text: string, time: number): Buffer {
  return Buffer.from(`cosignature/v1\ntime ${time}\n${text}`);
}

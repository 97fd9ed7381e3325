// Signed notes (c2sp.org/signed-note): a text and lines of signatures under it. Text is to be trusted only after `verifyNote`, and keys
// only when they came from somewhere else than the note.
import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';

/** What the key's signatures are: 1 Ed25519 over the text, 4 a timestamped witness cosignature (c2sp.org/tlog-cosignature). */
export type KeyKind = 1 | 4;

export interface NoteKey {
  readonly name: string;
  readonly kind: KeyKind;
  /** 32 bytes, RFC 8032. */
  readonly publicKey: Uint8Array;
}

export interface NoteSignature {
  readonly name: string;
  readonly keyId: number;
  readonly signature: Uint8Array;
}

export interface Note {
  /** Ends in a line feed. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

/** More than any checkpoint with its cosignatures needs. */
const longestNote = 64 * 1024;
const mostSignatures = 64;

/** The raw public key of an Ed25519 key. */
export function rawPublicKey(key: KeyObject): Uint8Array {
  const { x } = (key.type === 'private' ? createPublicKey(key) : key).export({ format: 'jwk' });
  return Buffer.from(x as string, 'base64url');
}

/** SHA-256(name || LF || kind || key), first four bytes. */
export function keyIdOf({ name, kind, publicKey }: NoteKey): number {
  return createHash('sha256').update(`${name}\n`).update(Uint8Array.of(kind)).update(publicKey).digest().readUInt32BE();
}

/** `name+id+base64(kind || key)`, as verifiers are given it. */
export function formatVerifierKey(key: NoteKey): string {
  const material = Buffer.concat([Uint8Array.of(key.kind), key.publicKey]);
  return `${key.name}+${keyIdOf(key).toString(16).padStart(8, '0')}+${material.toString('base64')}`;
}

/** `undefined` when the text is no key of a known kind, or its id does not belong to it. */
export function parseVerifierKey(text: string): NoteKey | undefined {
  const [, name, id, encoded] = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})$/.exec(text.trim()) ?? [];
  const material = decodeBase64(encoded ?? '');
  if (!name || !material || material.length !== 33) return undefined;
  const kind = material[0];
  if (kind !== 1 && kind !== 4) return undefined;
  const key = { name, kind, publicKey: material.subarray(1) } as const;
  return keyIdOf(key) === Number.parseInt(id!, 16) ? key : undefined;
}

/** The note of one Ed25519 signature over the text. */
export function signNote(text: string, signer: { readonly name: string; readonly key: KeyObject }): string {
  const key = { name: signer.name, kind: 1, publicKey: rawPublicKey(signer.key) } as const;
  return `${text}\n${signatureLine(key, sign(null, Buffer.from(text), signer.key))}`;
}

/** `— name base64(id || signature)`, line feed included. */
export function signatureLine(key: NoteKey, signature: Uint8Array): string {
  const id = Buffer.alloc(4);
  id.writeUInt32BE(keyIdOf(key));
  return `\u2014 ${key.name} ${Buffer.concat([id, signature]).toString('base64')}\n`;
}

/** `undefined` when the text is not a note: no signature, a control character, a line that is no signature after the last blank one. */
export function parseNote(note: string): Note | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a note must hold none but line feeds
  if (note.length > longestNote || /[\u0000-\u0009\u000b-\u001f]/.test(note) || !note.endsWith('\n')) return undefined;
  const split = note.lastIndexOf('\n\n');
  if (split < 0) return undefined;
  const lines = note.slice(split + 2, -1).split('\n');
  if (lines.length > mostSignatures) return undefined;
  const signatures = lines.map(parseSignature);
  if (!signatures.every((each) => each !== undefined)) return undefined;
  return { text: note.slice(0, split + 1), signatures };
}

/** Whether the text carries a good signature of this key. A bad one under the key's name and id makes the whole note bad. */
export function verifyNote(note: Note, key: NoteKey): boolean {
  const id = keyIdOf(key);
  const own = note.signatures.filter(({ name, keyId }) => name === key.name && keyId === id);
  return own.length > 0 && own.every(({ signature }) => isSigned(Buffer.from(note.text), signature, key.publicKey));
}

/** Ed25519; false for anything that is not a signature. */
export function isSigned(message: Uint8Array, signature: Uint8Array, publicKey: Uint8Array): boolean {
  try {
    const x = Buffer.from(publicKey).toString('base64url');
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
    return verify(null, message, key, signature);
  } catch {
    return false;
  }
}

/** Strict standard base64 (RFC 4648 section 4). */
export function decodeBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}

function parseSignature(line: string): NoteSignature | undefined {
  const [, name, encoded] = /^\u2014 ([^\s+]+) ([A-Za-z0-9+/]+={0,2})$/.exec(line) ?? [];
  const bytes = decodeBase64(encoded ?? '');
  if (!name || !bytes || bytes.length < 5) return undefined;
  return { name, keyId: bytes.readUInt32BE(), signature: bytes.subarray(4) };
}

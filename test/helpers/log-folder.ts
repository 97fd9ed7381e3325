// What lies in a log's folder, read without the code that wrote it.
import { createPrivateKey } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readCheckpoint } from '../../audit/merkle/checkpoint.ts';
import { type NoteKey, rawPublicKey } from '../../audit/merkle/note.ts';

/** Every entry that is kept, the growing bundle's included, in order. */
export function entriesIn(folder: string): string[] {
  const area = join(folder, 'tile', 'entries');
  const names = existsSync(area) ? readdirSync(area, { recursive: true, encoding: 'utf8' }) : [];
  const full = names
    .filter((name) => /(^|\/)[0-9]{3}$/.test(name))
    .sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
  const growing = readdirSync(join(folder, 'growing')).filter((name) => name.endsWith('.entries'));
  const paths = [...full.map((name) => join(area, name)), ...growing.map((name) => join(folder, 'growing', name))];
  return paths.flatMap((path) => {
    const bytes = readFileSync(path);
    const entries: string[] = [];
    for (let at = 0; at < bytes.length; at += 2 + bytes.readUInt16BE(at))
      entries.push(bytes.subarray(at + 2, at + 2 + bytes.readUInt16BE(at)).toString());
    return entries;
  });
}

/** The verifier key of the key in the folder, under the name that the checkpoint gives. */
export function logKeyOf(folder: string): NoteKey {
  const path = join(folder, 'checkpoint');
  const name = existsSync(path) ? readCheckpoint(readFileSync(path, 'utf8'))?.origin : undefined;
  const publicKey = rawPublicKey(createPrivateKey(readFileSync(join(folder, 'key.pem'))));
  return { name: name ?? 'unsigned', kind: 1, publicKey };
}

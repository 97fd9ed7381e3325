// Logs as they lie on a disk, for whoever checks them: which folders are logs, whose key they have, and where a record is. Reads only.
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { readPrivateFile } from '#base/files';
import type { ClearValues } from './entry.ts';
import { listBundles, listGrowing, logFile, readIfThere, splitBundle, splitLines } from './log-files.ts';
import { readCheckpoint } from './merkle/checkpoint.ts';
import { type NoteKey, rawPublicKey } from './merkle/note.ts';
import { formatReceipt } from './merkle/receipt.ts';
import { tileWidth } from './merkle/tile-path.ts';
import { createTileReader } from './merkle/tile-reader.ts';
import { proveInclusion } from './merkle/tree.ts';

/** The folder itself when it is a log, otherwise every log of a home: those of its sidecar's instances and that of its control plane. */
export function findLogs(folder: string): string[] {
  const isLog = (path: string): boolean => existsSync(logFile.growing(path)) || existsSync(logFile.checkpoint(path));
  if (isLog(folder)) return [folder];
  const instances = join(folder, 'sidecar', 'records');
  const names = existsSync(instances) ? readdirSync(instances).sort() : [];
  return [...names.map((name) => join(instances, name)), join(folder, 'events')].filter(isLog);
}

/** The key that lies beside a log, under the name in its checkpoint; `undefined` when either is missing. */
export function keyBeside(folder: string): NoteKey | undefined {
  const note = readIfThere(logFile.checkpoint(folder))?.toString();
  const name = note === undefined ? undefined : readCheckpoint(note)?.origin;
  if (name === undefined || !existsSync(logFile.key(folder))) return undefined;
  const key = createPublicKey(createPrivateKey(readPrivateFile(logFile.key(folder))));
  return { name, kind: 1, publicKey: rawPublicKey(key) };
}

export interface FoundRecord {
  readonly folder: string;
  readonly index: number;
  readonly entry: string;
  /** `null` for what was erased. */
  readonly values: ClearValues;
}

/** The record with that id; for events, whose id is their sequence, that too. */
export function findRecord(folder: string, id: string): FoundRecord | undefined {
  const wanted = `"id":${JSON.stringify(id)}`;
  for (const bundle of [...listBundles(folder), ...listGrowing(folder)].reverse()) {
    const bytes = readIfThere(logFile.bundle(folder, bundle)) ?? readIfThere(logFile.growingEntries(folder, bundle));
    const entries = splitBundle(bytes ?? Buffer.alloc(0)).entries.map(String);
    const at = entries.findIndex((entry) => entry.includes(wanted) && (JSON.parse(entry) as { id?: string }).id === id);
    if (at < 0) continue;
    const clear = readIfThere(logFile.clear(folder, bundle)) ?? readIfThere(logFile.growingClear(folder, bundle));
    const values = JSON.parse(splitLines(clear ?? Buffer.alloc(0))[at] ?? '{}') as ClearValues;
    return { folder, index: bundle * tileWidth + at, entry: entries[at]!, values };
  }
  return undefined;
}

/** What a receipt carries beside the proof: the entry, and the values that open its commitments. */
export interface ReceiptContent {
  readonly entry: string;
  readonly values: ClearValues;
}

/** A tlog-proof of the record; against the cosigned checkpoint when that holds it. `undefined` while no checkpoint does. */
export function receiptOf({ folder, index, entry, values }: FoundRecord): string | undefined {
  for (const path of [logFile.witnessed(folder), logFile.checkpoint(folder)]) {
    const checkpoint = readIfThere(path)?.toString();
    const size = checkpoint === undefined ? 0 : (readCheckpoint(checkpoint)?.size ?? 0);
    if (checkpoint === undefined || size <= index) continue;
    const proof = proveInclusion({ index, size }, createTileReader(folder, size));
    const extra = Buffer.from(JSON.stringify({ entry, values } satisfies ReceiptContent));
    return formatReceipt({ extra, index, proof, checkpoint });
  }
  return undefined;
}

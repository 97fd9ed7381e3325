// What a log's folder can prove to a witness or an auditor: its checkpoints, and that each continues the one before. Reads only.
import { renameSync, writeFileSync } from 'node:fs';
import { messageOf } from '#base/error';
import { logFile, readIfThere } from './log-files.ts';
import { openLogKey } from './log-tree.ts';
import { readCheckpoint } from './merkle/checkpoint.ts';
import { formatVerifierKey, parseNote, rawPublicKey } from './merkle/note.ts';
import { createTileReader } from './merkle/tile-reader.ts';
import { proveConsistency } from './merkle/tree.ts';

export interface LogProver {
  /** The newest signed checkpoint; `undefined` before the first. */
  checkpoint(): { readonly note: string; readonly size: number; readonly origin: string } | undefined;
  /** The newest one that the witness cosigned. */
  witnessed(): { readonly note: string; readonly size: number; readonly origin: string } | undefined;
  /** Of the key in the folder, under the origin of the newest checkpoint. */
  verifierKey(): string;
  /** Base64 hashes that show how the tree of `to` continues the tree of `from`; `undefined` when the tiles are gone. */
  proof(o: { readonly from: number; readonly to: number }): readonly string[] | undefined;
  /** Keeps the witness's line under the checkpoint that it is for. */
  keepCosignature(note: string, line: string): void;
}

export function createLogProver(folder: string): LogProver {
  const read = (path: string) => {
    const note = readIfThere(path)?.toString();
    const checkpoint = note === undefined ? undefined : readCheckpoint(note);
    return note !== undefined && checkpoint ? { note, size: checkpoint.size, origin: checkpoint.origin } : undefined;
  };
  return {
    checkpoint: () => read(logFile.checkpoint(folder)),
    witnessed: () => read(logFile.witnessed(folder)),
    verifierKey() {
      const name = read(logFile.checkpoint(folder))?.origin ?? '';
      return formatVerifierKey({ name, kind: 1, publicKey: rawPublicKey(openLogKey(folder)) });
    },
    proof(range) {
      try {
        const hashes = proveConsistency(range, createTileReader(folder, range.to));
        return hashes.map((hash) => Buffer.from(hash).toString('base64'));
      } catch (thrown) {
        if (thrown instanceof RangeError || messageOf(thrown).endsWith('is missing')) return undefined;
        throw thrown;
      }
    },
    keepCosignature(note, line) {
      if (parseNote(note + line)) {
        // Not synced, in the thread that decides: after a power cut the file may be empty, and the next cosignature makes up for it.
        const path = logFile.witnessed(folder);
        writeFileSync(`${path}.tmp`, note + line, { mode: 0o600 });
        renameSync(`${path}.tmp`, path);
      }
    },
  };
}

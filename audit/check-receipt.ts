// A receipt checked with nothing but itself and a key: the record is in the log, and the values shown with it are those it committed to.
import { type ClearValues, commitmentOf } from './entry.ts';
import type { ReceiptContent } from './log-folders.ts';
import type { NoteKey } from './merkle/note.ts';
import { parseReceipt, verifyReceipt } from './merkle/receipt.ts';

export type ReceiptCheck =
  | {
      readonly good: true;
      readonly origin: string;
      readonly index: number;
      readonly size: number;
      /** Seconds since the epoch, when a witness was asked for. */
      readonly cosignedAt?: number;
      readonly record: Readonly<Record<string, unknown>>;
      /** Fields whose values are not shown: erased, or held back. */
      readonly hidden: readonly string[];
    }
  | { readonly good: false; readonly why: string };

export function checkReceipt(
  text: string,
  o: { readonly key: NoteKey; readonly witness?: NoteKey | undefined },
): ReceiptCheck {
  const receipt = parseReceipt(text);
  if (!receipt) return { good: false, why: 'it is not a tlog-proof' };
  const content = parseContent(receipt.extra);
  if (!content) return { good: false, why: 'it does not carry a record' };
  const verdict = verifyReceipt(receipt, { entry: Buffer.from(content.entry), ...o });
  if (!verdict.good) return verdict;
  const { blinded = {}, ...rest } = JSON.parse(content.entry) as { blinded?: Record<string, string> };
  const shown: Record<string, string> = {};
  for (const [field, pair] of Object.entries(content.values)) {
    if (pair === null) continue;
    if (commitmentOf(pair) !== blinded[field])
      return { good: false, why: `its ${field} is not the one that was logged` };
    shown[field] = pair[1];
  }
  const { origin, size } = verdict.checkpoint;
  const hidden = Object.keys(blinded).filter((field) => !(field in shown));
  const { index } = receipt;
  const time = verdict.cosignedAt === undefined ? {} : { cosignedAt: verdict.cosignedAt };
  return { good: true, origin, index, size, ...time, record: { ...rest, ...shown }, hidden };
}

function parseContent(extra: Uint8Array | undefined): ReceiptContent | undefined {
  try {
    const { entry, values } = JSON.parse(Buffer.from(extra!).toString()) as { entry: string; values: ClearValues };
    const isRecord = typeof JSON.parse(entry) === 'object' && typeof values === 'object' && values !== null;
    const pairs = isRecord ? Object.values(values) : [undefined];
    const areValues = pairs.every(
      (pair) =>
        pair === null || (Array.isArray(pair) && pair.length === 2 && pair.every((part) => typeof part === 'string')),
    );
    return areValues ? { entry, values } : undefined;
  } catch {
    return undefined;
  }
}

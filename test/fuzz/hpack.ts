// Header compression against itself: what our encoder writes our decoder reads, whatever the table may hold; a damaged block is read or refused, and
// neither anything else nor more than the limits.
import { HpackDecoder } from '../../proxy/http2/hpack-decode.ts';
import { HpackEncoder } from '../../proxy/http2/hpack-encode.ts';
import { LinkError } from '../../proxy/http2/link-error.ts';
import { Output } from '../../proxy/output.ts';
import type { Verdict } from './http1.ts';
import type { Random } from './random.ts';

export interface Blocks {
  /** One list of fields after the other, with the size that the table may have from then on. */
  readonly lists: readonly { readonly size: number | undefined; readonly fields: readonly string[] }[];
  /** Where the last block is damaged, and by which byte. */
  readonly damage: readonly (readonly [at: number, byte: number])[];
}

const names = [
  'cookie',
  'x-a',
  'x-b',
  'content-type',
  'authorization',
  ':path',
  ':status',
  'accept',
  'set-cookie',
  'x',
];
const values = ['', 'a', 'same', '/', '200', '404', 'text/plain', 'x'.repeat(300), 'GET'];
const letters = 'abcdefghijklmnopqrstuvwxyz0123456789-_.~';

function word(r: Random, most: number): string {
  let text = '';
  for (let left = 1 + r.below(most); left > 0; left--) text += letters[r.below(letters.length)];
  return text;
}

export function anyBlocks(r: Random): Blocks {
  const lists = Array.from({ length: 1 + r.below(6) }, () => {
    const fields: string[] = [];
    for (let left = r.below(8); left > 0; left--) {
      fields.push(r.oneIn(4) ? word(r, 20) : r.pick(names));
      fields.push(r.oneIn(3) ? word(r, 40) : r.pick(values));
    }
    return { size: r.oneIn(5) ? r.pick([0, 31, 64, 100, 500, 4_096, 5_000]) : undefined, fields };
  });
  const damage = Array.from({ length: r.below(3) }, () => [r.bits(), r.below(256)] as const);
  return { lists, damage };
}

const limits = { listBytes: 4_000, fields: 20 };
const out = new Output();

export function checkBlocks({ lists, damage }: Blocks): Verdict {
  const encoder = new HpackEncoder();
  const decoder = new HpackDecoder(limits);
  let last: Buffer = Buffer.alloc(0);
  for (const { size, fields } of lists) {
    if (size !== undefined) encoder.setLimit(size);
    out.room(8_000);
    const start = out.at;
    encoder.begin(out);
    encoder.fields(out, fields);
    const read = decoder.decode(out.bytes, start, out.at);
    if (read.join('\n') !== fields.join('\n')) return `read as ${JSON.stringify(read)}`;
    last = Buffer.from(out.bytes.subarray(start, out.at));
    out.take(() => true);
  }
  if (damage.length === 0 || last.length === 0) return lists.length;
  for (const [at, byte] of damage) last[at % last.length] = byte;
  try {
    const read = decoder.decode(last, 0, last.length);
    if (read.length > limits.fields * 2 || read.join('').length > limits.listBytes) return 'more than the limits allow';
  } catch (thrown) {
    if (!(thrown instanceof LinkError)) return `thrown: ${String(thrown)}`;
  }
  return lists.length;
}

// Text lines from a stream of bytes, each within a bound, and a watch on silence. Never holds more than one line and one chunk.
import { isUtf8 } from 'node:buffer';
import type { Clock } from '#base/clock';
import { fail } from './errors.ts';

/**
 * Each non-empty line as text; a line above `longest` bytes, or one that is not UTF-8, throws CONTROL_REPLY_INVALID. One above `large` bytes comes as its
 * bytes, in memory of its own and as they are: looking at them is left to whoever has the time.
 */
export async function* readLines(
  chunks: AsyncIterable<Buffer>,
  { longest, large = longest, url }: { readonly longest: number; readonly large?: number; readonly url: string },
): AsyncGenerator<string | Uint8Array<ArrayBuffer>> {
  let held: Buffer[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      held.push(chunk.subarray(from, end));
      size += end - from;
      from = end + 1;
      if (size > longest) throw tooLong(longest, url);
      if (size > large) {
        yield joined(held, size);
        held = [];
        size = 0;
        continue;
      }
      const line = held.length === 1 ? held[0]! : Buffer.concat(held);
      held = [];
      size = 0;
      if (!isUtf8(line)) throw fail('CONTROL_REPLY_INVALID', { url, reason: 'a line is not UTF-8' });
      if (line.length > 0) yield line.toString('utf8');
    }
    if (from < chunk.length) {
      held.push(chunk.subarray(from));
      size += chunk.length - from;
      if (size > longest) throw tooLong(longest, url);
    }
  }
}

function joined(chunks: readonly Buffer[], size: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

/** The same chunks; calls `silent` when none came for `silenceMs` while one was awaited (a slow reader is not a silent peer). */
export async function* withinSilence(
  chunks: AsyncIterable<Buffer>,
  o: { readonly clock: Clock; readonly silenceMs: number; readonly silent: (ms: number) => void },
): AsyncGenerator<Buffer> {
  const iterator = chunks[Symbol.asyncIterator]();
  try {
    for (;;) {
      const disarm = o.clock.after(o.silenceMs, () => o.silent(o.silenceMs));
      const next = await iterator.next().finally(disarm);
      if (next.done) return;
      yield next.value;
    }
  } finally {
    await iterator.return?.();
  }
}

function tooLong(longest: number, url: string) {
  return fail('CONTROL_REPLY_INVALID', { url, reason: `a line is longer than ${longest} bytes` });
}

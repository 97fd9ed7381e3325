// Whatever our HTTP/2 codec accepts, nghttp2 accepts with the same meaning.
import { isDeepStrictEqual } from 'node:util';
import { magic } from '../helpers/http2.ts';
import {
  isNodesOwn,
  type Reading,
  readNodeClient,
  readNodeServer,
  readOurClient,
  readOurServer,
  resetBySender,
  wholeFrames,
} from '../helpers/http2-fuzz.ts';
import type { Verdict } from './http1.ts';

export const checkClientSession = (chunks: readonly Buffer[]): Promise<Verdict> =>
  check(chunks, magic.length, readOurServer, readNodeServer);

export const checkServerSession = (chunks: readonly Buffer[], methods: readonly string[]): Promise<Verdict> =>
  check(
    chunks,
    0,
    (each) => readOurClient(each, methods),
    (each) => readNodeClient(each, methods),
  );

/** `skip`: bytes before the first frame. */
async function check(
  chunks: readonly Buffer[],
  skip: number,
  ours: (chunks: readonly Buffer[]) => Reading,
  node: (chunks: readonly Buffer[]) => Promise<Reading>,
): Promise<Verdict> {
  const accepted = wholeFrames(chunks, ours(chunks).chunks, skip);
  if (isNodesOwn(accepted, skip)) return 0;
  const [mine, theirs] = [ours(accepted), await node(accepted)];
  if (theirs.fault !== undefined) {
    // What comes for a stream that we have reset is nothing to us; nghttp2 may still look at it, and Node ends its session where we end a stream.
    return mine.fault === undefined && mine.resets.size === 0 ? `nghttp2 refuses: ${theirs.fault}` : 0;
  }
  const gone = resetBySender(accepted, skip);
  let same = 0;
  for (const { id, fields, body } of mine.whole) {
    if (gone.has(id) || mine.resets.has(id)) continue;
    const other = theirs.whole.find((each) => each.id === id);
    if (!other) return `only ours has stream ${id}`;
    if (!isDeepStrictEqual(fields, other.fields))
      return `stream ${id}: ${JSON.stringify(fields)} for us, ${JSON.stringify(other.fields)} for nghttp2`;
    if (body !== undefined && body !== other.body)
      return `stream ${id}: the body is ${JSON.stringify(body)} for us, ${JSON.stringify(other.body)} for nghttp2`;
    same++;
  }
  return same;
}

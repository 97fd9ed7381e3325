// Generated and damaged frames: nothing throws or stays behind, and whatever our codec accepts nghttp2 accepts with the same meaning.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { magic } from '../../helpers/http2.ts';
import type { Reading } from '../../helpers/http2-fuzz.ts';
import {
  anyMethods,
  clientSessions,
  isNodesOwn,
  readNodeClient,
  readNodeServer,
  readOurClient,
  readOurServer,
  resetBySender,
  serverSessions,
  wholeFrames,
} from '../../helpers/http2-fuzz.ts';

/** Raised for a long run: POSTERN_FUZZ=100 makes each part a hundred times longer. */
const times = Number(process.env.POSTERN_FUZZ ?? 1);
const timeout = 60_000 * times;

describe('alone', () => {
  test('a server throws at nothing and leaves no stream behind', { timeout }, async () => {
    await fc.assert(
      // Asynchronous, so that what a session leaves for later is done before the next one.
      fc.asyncProperty(clientSessions, async (chunks) => void readOurServer(chunks)),
      { numRuns: 15_000 * times },
    );
  });

  test('a client throws at nothing and ends every call exactly once', { timeout }, async () => {
    await fc.assert(
      fc.asyncProperty(serverSessions, anyMethods, async (chunks, methods) => void readOurClient(chunks, methods)),
      { numRuns: 15_000 * times },
    );
  });

  test('bytes that are no frames at all are refused', { timeout }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 4 }), async (chunks) => {
        const pieces = chunks.map((bytes) => Buffer.from(bytes));
        readOurServer(pieces);
        readOurClient(pieces, ['GET']);
      }),
      { numRuns: 5_000 * times },
    );
  });
});

/** What we accept nghttp2 accepts too, and understands the same. `skip`: bytes before the first frame. */
async function agree(
  chunks: readonly Buffer[],
  skip: number,
  ours: (chunks: readonly Buffer[]) => Reading,
  node: (chunks: readonly Buffer[]) => Promise<Reading>,
): Promise<void> {
  const accepted = wholeFrames(chunks, ours(chunks).chunks, skip);
  if (isNodesOwn(accepted, skip)) return;
  const [mine, theirs] = [ours(accepted), await node(accepted)];
  // What comes for a stream that we have reset is nothing to us; nghttp2 may still look at it.
  if (mine.fault === undefined && mine.resets.size === 0) expect(theirs.fault).toBeUndefined();
  // Where we end a stream Node may end its session, and all that has not been read with it.
  else if (theirs.fault !== undefined) return;
  const gone = resetBySender(accepted, skip);
  for (const { id, fields, body } of mine.whole) {
    if (gone.has(id) || mine.resets.has(id)) continue;
    const same = theirs.whole.find((each) => each.id === id);
    expect(same).toMatchObject({ id, fields, ...(body !== undefined && { body }) });
  }
}

describe('beside nghttp2', () => {
  test('requests mean the same', { timeout }, async () => {
    await fc.assert(
      fc.asyncProperty(clientSessions, (chunks) => agree(chunks, magic.length, readOurServer, readNodeServer)),
      { numRuns: 3_000 * times },
    );
  });

  test('responses mean the same', { timeout }, async () => {
    await fc.assert(
      fc.asyncProperty(serverSessions, anyMethods, (chunks, methods) =>
        agree(
          chunks,
          0,
          (each) => readOurClient(each, methods),
          (each) => readNodeClient(each, methods),
        ),
      ),
      { numRuns: 3_000 * times },
    );
  });
});

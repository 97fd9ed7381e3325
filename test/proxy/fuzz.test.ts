// Our codecs beside llhttp and nghttp2 as they are in Node: the same cases each time. `npm run fuzz` runs as many as one likes.
import { expect, test } from 'vitest';
import { type Disagreement, parts } from '../fuzz/parts.ts';

/** Cases, and how many messages both must have accepted: a generator that makes nothing acceptable would prove nothing. */
const sizes: Readonly<Record<string, readonly [cases: number, accepted: number]>> = {
  requests: [120_000, 50_000],
  responses: [100_000, 30_000],
  hpack: [80_000, 200_000],
  'http2-requests': [8_000, 8_000],
  'http2-responses': [8_000, 3_000],
};

test.each(parts)(
  '$name: whatever ours accepts theirs accept with the same meaning',
  { timeout: 120_000 },
  async (part) => {
    const [cases, least] = sizes[part.name]!;
    const disagreements: Disagreement[] = [];
    const accepted = await part.run({ seed: 1, from: 0, to: cases, found: (one) => disagreements.push(one) });
    expect(disagreements.slice(0, 5)).toEqual([]);
    expect(accepted).toBeGreaterThan(least);
  },
);

test.each(parts)('$name: a case alone is the same case', async (part) => {
  const at = 77;
  const alone = await part.run({ seed: 3, from: at, to: at + 1, found: () => undefined });
  const upTo = async (to: number): Promise<number> => part.run({ seed: 3, from: 70, to, found: () => undefined });
  expect(alone).toBe((await upTo(at + 1)) - (await upTo(at)));
});

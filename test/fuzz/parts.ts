// What can be fuzzed: each part makes case number `index` of a seed and says what it found.
import fc from 'fast-check';
import { anyMethods, clientSessions, serverSessions } from '../helpers/http2-fuzz.ts';
import { anyBlocks, checkBlocks } from './hpack.ts';
import { checkRequests, checkResponses, type Verdict } from './http1.ts';
import { anyRequests, anyResponses } from './http1-text.ts';
import { checkClientSession, checkServerSession } from './http2.ts';
import { Random } from './random.ts';

export interface Disagreement {
  readonly part: string;
  readonly index: number;
  readonly what: string;
  /** The bytes, for a vector. */
  readonly input: string;
}

export interface Part {
  readonly name: string;
  /** Of all the cases of a run, how many in a hundred. */
  readonly share: number;
  /** Runs cases `from` to `to` (exclusive); gives how many messages were accepted by both. */
  run(o: { seed: number; from: number; to: number; found: (one: Disagreement) => void }): Promise<number>;
}

/** A part whose cases need nothing but themselves. */
function simple<T>(name: string, share: number, make: (r: Random) => T, check: (input: T) => Verdict): Part {
  const random = new Random();
  return {
    name,
    share,
    async run({ seed, from, to, found }) {
      let accepted = 0;
      for (let index = from; index < to; index++) {
        const input = make(random.begin(seed, index));
        let verdict: Verdict;
        try {
          verdict = check(input);
        } catch (thrown) {
          verdict = `thrown: ${String((thrown as Error).stack ?? thrown)}`;
        }
        if (typeof verdict === 'number') accepted += verdict;
        else found({ part: name, index, what: verdict, input: shown(input) });
      }
      return accepted;
    },
  };
}

/** So many cases of a part with sessions are made by one seed, and run beside each other: nghttp2 needs turns of the event loop. */
const together = 64;

/** A part whose cases are made by fast-check and take turns of the event loop. */
function sessions<T>(name: string, share: number, any: fc.Arbitrary<T>, check: (input: T) => Promise<Verdict>): Part {
  return {
    name,
    share,
    async run({ seed, from, to, found }) {
      let accepted = 0;
      for (let group = Math.floor(from / together); group * together < to; group++) {
        const first = group * together;
        const inputs = fc.sample(any, { numRuns: together, seed: new Random().begin(seed, group).bits() | 0 });
        const wanted = inputs.map((input, at) => ({ input, index: first + at }));
        const running = wanted
          .filter(({ index }) => index >= from && index < to)
          .map(async ({ input, index }) => {
            const verdict = await check(input).catch((thrown: unknown) => `thrown: ${String(thrown)}`);
            if (typeof verdict === 'number') accepted += verdict;
            else found({ part: name, index, what: verdict, input: shown(input) });
          });
        await Promise.all(running);
      }
      return accepted;
    },
  };
}

const shown = (input: unknown): string =>
  JSON.stringify(input, (_, value) => (value?.type === 'Buffer' ? Buffer.from(value.data).toString('latin1') : value));

export const parts: readonly Part[] = [
  simple('requests', 40, anyRequests, checkRequests),
  simple('responses', 36, anyResponses, checkResponses),
  simple('hpack', 20, anyBlocks, checkBlocks),
  sessions('http2-requests', 2, clientSessions, checkClientSession),
  sessions('http2-responses', 2, fc.tuple(serverSessions, anyMethods), ([chunks, methods]) =>
    checkServerSession(chunks, methods),
  ),
];

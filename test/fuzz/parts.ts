// What can be fuzzed: each part makes case number `index` of a seed and says what it found.
import { checkRequests, checkResponses, type Verdict } from './http1.ts';
import { anyRequests, anyResponses } from './http1-text.ts';
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

const shown = (input: unknown): string =>
  JSON.stringify(input, (_, value) => (value?.type === 'Buffer' ? Buffer.from(value.data).toString('latin1') : value));

export const parts: readonly Part[] = [
  simple('requests', 45, anyRequests, checkRequests),
  simple('responses', 35, anyResponses, checkResponses),
];

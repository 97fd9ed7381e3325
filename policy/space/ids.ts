// All SPIFFE IDs there can be, cut into the finitely many classes that a set of sources can tell apart: each named ID, the rest of each
// prefix, and everybody else. Numbered so that a prefix is one interval. Every class has a witness: an ID that is in it.
import { basesOf } from '../source.ts';
import { holdsClass, type Intervals, unionOf } from './intervals.ts';

/** A set in words: of the entries that hold something, the most specific one says whether it is in. */
export interface Described {
  readonly include: readonly string[];
  readonly except: readonly string[];
}

export interface Ids {
  /** How many classes; `[0, size]` is everybody. */
  readonly size: number;
  /** The classes of an ID, a prefix or `*` that the space was made with. Throws `TypeError` for another. */
  setOf(sources: readonly string[]): Intervals;
  /** An ID in the set; a named one when there is one. */
  witnessOf(set: Intervals): string;
  describe(set: Intervals): Described;
}

interface Entry {
  readonly text: string;
  readonly isPrefix: boolean;
  /** One past the last class below it. */
  end: number;
}

/** `sources`: every ID, prefix and `*` that will be asked about, groups resolved. */
export function createIds(sources: Iterable<string>): Ids {
  const entries = sorted(new Set(sources));
  const size = entries.length;
  const numbers = new Map(entries.map(({ text }, index) => [text, index]));
  const known = new Map<string, Intervals>();
  const intervalOf = (source: string): Intervals => {
    let interval = known.get(source);
    if (interval) return interval;
    const number = numbers.get(source);
    if (number === undefined) throw new TypeError(`the space does not know ${source}`);
    interval = [number, entries[number]!.end];
    known.set(source, interval);
    return interval;
  };
  /** An ID that only this class holds. */
  const memberOf = (number: number): string => {
    const { text, isPrefix } = entries[number]!;
    if (!isPrefix) return text;
    for (let turn = 0; ; turn++) {
      const name = turn === 0 ? 'any' : `any${turn}`;
      const id = text === '*' ? `spiffe://${name}.example/any` : `${text.slice(0, -3)}/${name}`;
      // `*` comes first and holds all; any other entry that holds it makes it another class's member.
      const nearest = [
        id,
        ...basesOf(id)
          .toReversed()
          .map((base) => `${base}/**`),
        '*',
      ].find((one) => numbers.has(one));
      if (nearest === text) return id;
    }
  };
  return {
    size,
    setOf: (texts) => unionOf(texts.map(intervalOf)),
    witnessOf(set) {
      for (let at = 0; at < set.length; at += 2) {
        for (let number = set[at]!; number < set[at + 1]!; number++)
          if (!entries[number]!.isPrefix) return memberOf(number);
      }
      return memberOf(set[0]!);
    },
    describe(set) {
      const include: string[] = [];
      const except: string[] = [];
      const within: { end: number; isIn: boolean }[] = [];
      for (const [number, { text, end }] of entries.entries()) {
        while (within.length > 0 && within.at(-1)!.end <= number) within.pop();
        const isIn = holdsClass(set, number);
        if (isIn !== (within.at(-1)?.isIn ?? false)) (isIn ? include : except).push(text);
        within.push({ end, isIn });
      }
      return { include, except };
    },
  };
}

/** `*` first, then by segments, so that everything below a base follows it; a prefix before the ID of the same text. */
function sorted(texts: ReadonlySet<string>): Entry[] {
  const keyed = [...texts]
    .filter((text) => text !== '*')
    .map((text) => {
      const isPrefix = text.endsWith('/**');
      const base = isPrefix ? text.slice(0, -3) : text;
      return { text, isPrefix, key: base.replaceAll('/', '\0') };
    });
  keyed.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : Number(b.isPrefix) - Number(a.isPrefix)));
  const entries: Entry[] = [{ text: '*', isPrefix: true, end: keyed.length + 1 }];
  const open: { entry: Entry; key: string }[] = [];
  for (const [index, { text, isPrefix, key }] of keyed.entries()) {
    while (open.length > 0 && !(key === open.at(-1)!.key || key.startsWith(`${open.at(-1)!.key}\0`)))
      open.pop()!.entry.end = index + 1;
    const entry = { text, isPrefix, end: isPrefix ? keyed.length + 1 : index + 2 };
    entries.push(entry);
    if (isPrefix) open.push({ entry, key });
  }
  return entries;
}

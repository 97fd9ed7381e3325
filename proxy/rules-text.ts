// The rules of a large policy as a proxy keeps them: JSON in memory that all threads see, read a few at a time by whoever goes through them. As objects they
// would be hundreds of thousands that live long, each of which the garbage collector copies twice and holds the event loop for.
import type { PolicyRule } from '#wire';

export interface RulesText {
  /** In which the rules stand one after the other, with a comma between them. */
  readonly text: SharedArrayBuffer;
  /** Where each rule begins, and where one after the last would. */
  readonly places: Int32Array<SharedArrayBuffer>;
}

/** Rules that are read together: about a tenth of a millisecond's work. */
const perPiece = 64;

const texts = new WeakMap<readonly PolicyRule[], RulesText>();

/** What these rules are read from; `undefined` when they are objects as any. */
export function textOf(rules: readonly PolicyRule[]): RulesText | undefined {
  return texts.get(rules);
}

/** The rules as an array that has none of them: going through it reads them by the piece, an index reads that one, and neither keeps what it has read. */
export function rulesFrom(kept: RulesText): readonly PolicyRule[] {
  const bytes = Buffer.from(kept.text);
  const count = kept.places.length - 1;
  const read = (from: number, to: number): PolicyRule[] =>
    JSON.parse(`[${bytes.toString('utf8', kept.places[from], kept.places[to]! - 1)}]`);
  function* each(): Generator<PolicyRule> {
    for (let at = 0; at < count; at += perPiece) {
      for (const rule of read(at, Math.min(count, at + perPiece))) yield rule;
    }
  }
  const isPlace = (key: string | symbol): key is string =>
    typeof key === 'string' && /^\d{1,9}$/.test(key) && Number(key) < count;
  const none: PolicyRule[] = [];
  none.length = count;
  const rules: readonly PolicyRule[] = new Proxy(none, {
    get(target, key) {
      if (key === Symbol.iterator) return each;
      if (isPlace(key)) return read(Number(key), Number(key) + 1)[0];
      return Reflect.get(target, key);
    },
    has: (target, key) => isPlace(key) || Reflect.has(target, key),
    set: () => false,
  });
  texts.set(rules, kept);
  return rules;
}

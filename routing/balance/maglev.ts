// Maglev hashing (Eisenbud et al., NSDI 2016, section 3.4): a table in which every endpoint has its share of the rows to within one, and
// keeps nearly all of them when others come or go. It holds all members; the keys of one that is left out are hashed again, so nothing
// is built again until members change.
import { fnv1a, mix, type Sought } from './hash.ts';
import type { Member } from './member.ts';

/** A prime, as in the paper and in Envoy: a hundred rows each for 655 endpoints. */
const rows = 65_537;
/** How often a key is hashed again before the members are looked through. */
const rehashes = 32;
const golden = 0x9e3779b9;

export class Maglev {
  readonly #members: readonly Member[];
  /** The place of the member in each row; no more memory than places need, since every cluster and subset in use has one. */
  readonly #table: Uint16Array | Uint32Array;

  constructor(members: readonly Member[]) {
    // The order in which members take rows must be the same in every proxy.
    this.#members = [...members].sort((one, other) => (one.address < other.address ? -1 : 1));
    this.#table = members.length < 2 ** 16 ? new Uint16Array(rows) : new Uint32Array(rows);
    this.#fill();
  }

  find(o: Sought): Member | undefined {
    let { hash } = o;
    for (let count = 0; count <= rehashes; count++) {
      const member = this.#members[this.#table[hash % rows]!]!;
      if (member.mayServe(o.mask, o.tried)) return member;
      hash = mix((hash + golden) | 0);
    }
    return this.#highest(o);
  }

  /** Hardly any are left: the one with the highest weight for this key (rendezvous hashing), as stable as the table. */
  #highest(o: Sought): Member | undefined {
    let found: Member | undefined;
    let highest = -1;
    for (const member of this.#members) {
      if (!member.mayServe(o.mask, o.tried)) continue;
      // -ln(uniform) / weight is least as often as the weight says.
      const score = member.weight / -Math.log((mix(o.hash ^ fnv1a(member.address)) + 1) / 4_294_967_298);
      if (score > highest) [found, highest] = [member, score];
    }
    return found;
  }

  #fill(): void {
    const members = this.#members;
    const table = this.#table;
    const greatest = members.reduce((most, { weight }) => Math.max(most, weight), 0);
    /** Where each member looks next, and how far it then goes on: a permutation of all rows, as `rows` is prime. */
    const next = Int32Array.from(members, ({ address }) => mix(fnv1a(address)) % rows);
    const skip = Int32Array.from(members, ({ address }) => 1 + (mix(fnv1a(address, 0x9747b28c)) % (rows - 1)));
    /** A member takes a row in each round in which its weight has come up to the greatest once more, as in Envoy. */
    const due = new Float64Array(members.length);
    const isTaken = new Uint8Array(rows);
    for (let taken = 0; ; )
      for (let place = 0; place < members.length; place++) {
        due[place]! += members[place]!.weight;
        if (due[place]! < greatest) continue;
        due[place]! -= greatest;
        let row = next[place]!;
        while (isTaken[row] === 1) row = (row + skip[place]!) % rows;
        table[row] = place;
        isTaken[row] = 1;
        next[place] = (row + skip[place]!) % rows;
        if (++taken === rows) return;
      }
  }
}

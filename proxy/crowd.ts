// Who is here now, of what comes and goes thousands of times a second. A Set makes itself a new table whenever the old one is full of those that have
// left, and an old table that outlived a collection keeps all alive that were in it, the next table included: so everything of every request was copied,
// promoted and in the end collected with the whole heap. This holds on to nobody who has left.

export interface Member {
  /** Where it stands while it is here; only its crowd writes this. */
  place: number;
}

/** The `place` of who is not here. */
export const nowhere = -1;

export class Crowd<T extends Member> implements Iterable<T> {
  readonly #members: (T | undefined)[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(member: T): void {
    if (member.place !== nowhere) return;
    member.place = this.#size;
    // Never shortened: it stays as long as the crowd was large.
    this.#members[this.#size++] = member;
  }

  /** The last one takes its place. */
  delete(member: T): void {
    const { place } = member;
    if (place === nowhere) return;
    const last = this.#members[--this.#size]!;
    this.#members[this.#size] = undefined;
    member.place = nowhere;
    if (last === member) return;
    this.#members[place] = last;
    last.place = place;
  }

  /** Who is here at this moment, whoever leaves meanwhile. */
  *[Symbol.iterator](): Generator<T> {
    for (const member of this.#members.slice(0, this.#size)) yield member!;
  }
}

// The streams of a connection by number. A Map would make a new table for every few hundred streams, and each old one keeps alive what was in it
// (crowd.ts says what that costs). Numbers come in order, so their place is the number itself: only streams that outlast a whole round meet others.
import type { LinkStream } from './stream.ts';

const firstPlaces = 64;

export class StreamTable {
  /** By place; those of one place stand behind each other. */
  #places: (LinkStream | undefined)[] = emptyPlaces(firstPlaces);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(id: number): LinkStream | undefined {
    return this.#places[this.#find(id)];
  }

  add(stream: LinkStream): void {
    if (this.#size * 2 >= this.#places.length) this.#grow();
    this.#places[this.#find(stream.id)] = stream;
    this.#size++;
  }

  delete(id: number): void {
    const places = this.#places;
    let gap = this.#find(id);
    if (!places[gap]) return;
    this.#size--;
    const mask = places.length - 1;
    // Those behind it move up, as far as their own place allows.
    for (let at = (gap + 1) & mask; places[at]; at = (at + 1) & mask) {
      const own = this.#placeOf(places[at]!.id);
      if (((at - own) & mask) < ((at - gap) & mask)) continue;
      places[gap] = places[at];
      gap = at;
    }
    places[gap] = undefined;
  }

  /** All that are open at this moment, whatever becomes of them meanwhile. */
  all(): LinkStream[] {
    return this.#places.filter((stream) => stream !== undefined);
  }

  /** Where the stream is, or where it would go. */
  #find(id: number): number {
    const places = this.#places;
    let at = this.#placeOf(id);
    for (let found = places[at]; found && found.id !== id; found = places[at]) at = (at + 1) & (places.length - 1);
    return at;
  }

  /** Numbers of one side are two apart (RFC 9113 section 5.1.1). */
  #placeOf(id: number): number {
    return (id >>> 1) & (this.#places.length - 1);
  }

  #grow(): void {
    const streams = this.all();
    this.#places = emptyPlaces(this.#places.length * 2);
    this.#size = 0;
    for (const stream of streams) this.add(stream);
  }
}

function emptyPlaces(count: number): (LinkStream | undefined)[] {
  return new Array<LinkStream | undefined>(count).fill(undefined);
}

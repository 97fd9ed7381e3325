// The ring of consistent hashing, after Karger and libketama: each endpoint has points on it by its weight, and a key belongs to the first
// point after it. One that is left out leaves its points where they are and its keys go to the next, so nothing is built again until
// members change.
import { fnv1a, mix, type Sought } from './hash.ts';
import type { Member } from './member.ts';

/** Of an endpoint with the greatest weight. */
const mostPoints = 512;
/** Of all: what 20 milliseconds allow to be sorted. */
const ringSize = 1 << 17;
/** A point and the place of its member share one number, so that the ring is sorted as numbers are. */
const places = 1 << 20;

export class Ring {
  readonly #members: readonly Member[];
  readonly #points: Uint32Array;
  readonly #places: Int32Array;

  constructor(members: readonly Member[]) {
    this.#members = members;
    const greatest = members.reduce((most, { weight }) => Math.max(most, weight), 0);
    const total = members.reduce((sum, { weight }) => sum + weight / greatest, 0);
    const each = Math.min(mostPoints, ringSize / total);
    const counts = members.map(({ weight }) => Math.max(1, Math.round((each * weight) / greatest)));
    const ring = new Float64Array(counts.reduce((sum, count) => sum + count, 0));
    let at = 0;
    members.forEach(({ address }, place) => {
      // Two independent hashes, so that endpoints whose first ones are equal do not share all points.
      const [first, step] = [fnv1a(address), mix(fnv1a(address, 0x9747b28c)) | 1];
      // The first points stay the same whatever their number.
      for (let count = 0; count < counts[place]!; count++)
        ring[at++] = mix((first + Math.imul(count, step)) | 0) * places + place;
    });
    ring.sort();
    this.#points = new Uint32Array(ring.length);
    this.#places = new Int32Array(ring.length);
    for (let index = 0; index < ring.length; index++) {
      this.#points[index] = Math.floor(ring[index]! / places);
      this.#places[index] = ring[index]! % places;
    }
  }

  /** The nearest point after the hash whose member has one of the standings of the mask and was not tried. */
  find(o: Sought): Member | undefined {
    const points = this.#points;
    let [low, high] = [0, points.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (points[middle]! < o.hash) low = middle + 1;
      else high = middle;
    }
    for (let step = 0; step < points.length; step++) {
      const member = this.#members[this.#places[(low + step) % points.length]!]!;
      if (member.mayServe(o.mask, o.tried)) return member;
    }
    return undefined;
  }
}

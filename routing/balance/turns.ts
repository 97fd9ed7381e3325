// Whose turn it is when weights differ: earliest deadline first, as Envoy does it. Each turn puts the next one of that member off by the
// inverse of its weight at that moment, so that turns are spread evenly and weights may change with load.

export class Turns {
  /** A binary heap of places in the list, the earliest deadline on top. */
  readonly #heap: Int32Array;
  readonly #deadlines: Float64Array;
  readonly #weightOf: (place: number) => number;

  /** `random` shuffles the first turns, so that proxies that begin together do not all begin with the same endpoint. */
  constructor(o: { count: number; weightOf: (place: number) => number; random: () => number }) {
    this.#weightOf = o.weightOf;
    this.#heap = Int32Array.from({ length: o.count }, (_, place) => place);
    this.#deadlines = Float64Array.from({ length: o.count }, (_, place) => o.random() / o.weightOf(place));
    for (let at = (o.count >> 1) - 1; at >= 0; at--) this.#sink(at);
  }

  next(): number {
    const place = this.#heap[0]!;
    this.#deadlines[place]! += 1 / this.#weightOf(place);
    this.#sink(0);
    return place;
  }

  #sink(from: number): void {
    const heap = this.#heap;
    const deadlines = this.#deadlines;
    const place = heap[from]!;
    const deadline = deadlines[place]!;
    let at = from;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && deadlines[heap[child + 1]!]! < deadlines[heap[child]!]!) child++;
      if (deadlines[heap[child]!]! >= deadline) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = place;
  }
}

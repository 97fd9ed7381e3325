// A place drawn at random with weights, in constant time: Vose's alias method.

export class Draw {
  readonly #shares: Float64Array;
  readonly #aliases: Int32Array;
  readonly #random: () => number;

  constructor({ weights, random }: { weights: readonly number[]; random: () => number }) {
    const count = weights.length;
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    this.#random = random;
    this.#shares = Float64Array.from(weights, (weight) => (weight * count) / total);
    this.#aliases = new Int32Array(count);
    const small: number[] = [];
    const large: number[] = [];
    for (let place = 0; place < count; place++) (this.#shares[place]! < 1 ? small : large).push(place);
    while (small.length > 0 && large.length > 0) {
      const [poor, rich] = [small.pop()!, large.pop()!];
      this.#aliases[poor] = rich;
      this.#shares[rich]! -= 1 - this.#shares[poor]!;
      (this.#shares[rich]! < 1 ? small : large).push(rich);
    }
    // What is left is 1 but for rounding.
    for (const place of [...small, ...large]) this.#shares[place] = 1;
  }

  next(): number {
    const at = this.#random() * this.#shares.length;
    const place = Math.floor(at);
    return at - place < this.#shares[place]! ? place : this.#aliases[place]!;
  }
}

// How the streams of a connection ended, for those that ended not long ago: what comes late for them is forgiven or not by that
// (RFC 9113 section 5.1). A fixed handful of bytes, whatever comes.

export const ending = { unknown: 0, never: 1, both: 2, resetByPeer: 3, resetByUs: 4 } as const;

/** Streams of one side remembered. */
const slots = 256;

export class ClosedStreams {
  readonly #ids = new Uint32Array(slots);
  readonly #how = new Uint8Array(slots);

  note(id: number, how: number): void {
    const slot = (id >>> 1) & (slots - 1);
    this.#ids[slot] = id;
    this.#how[slot] = how;
  }

  /** `unknown` when it is too long ago; `never` when no such stream was open, though a later one was. */
  of(id: number): number {
    const slot = (id >>> 1) & (slots - 1);
    const noted = this.#ids[slot]!;
    if (noted === id) return this.#how[slot]!;
    return noted > id ? ending.unknown : ending.never;
  }
}

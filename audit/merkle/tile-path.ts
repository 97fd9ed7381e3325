// Where hashes and entries lie (c2sp.org/tlog-tiles): the path of a tile or an entry bundle, and how wide it is in a tree of some size.

/** Hashes in a full tile, entries in a full bundle. */
export const tileWidth = 256;

/** `tile/<L>/<N>[.p/<W>]`; a full tile when `width` is absent or 256. */
export function tilePath(level: number, index: number, width = tileWidth): string {
  return `tile/${level}/${numberPath(index)}${partial(width)}`;
}

/** `tile/entries/<N>[.p/<W>]`. */
export function bundlePath(index: number, width = tileWidth): string {
  return `tile/entries/${numberPath(index)}${partial(width)}`;
}

/** A number in groups of three digits, all but the last marked with an x: 1234067 is `x001/x234/067`. */
export function numberPath(index: number): string {
  const digits = String(index);
  const padded = digits.padStart(Math.ceil(digits.length / 3) * 3, '0');
  const groups = padded.match(/.{3}/g)!;
  return groups.map((group, at) => (at < groups.length - 1 ? `x${group}` : group)).join('/');
}

/** The number of such a path; `undefined` when it is not one (`.p` folders and temporary files among them). */
export function parseNumberPath(path: string): number | undefined {
  if (!/^(x[0-9]{3}\/)*[0-9]{3}$/.test(path)) return undefined;
  const index = Number(path.replaceAll(/[x/]/g, ''));
  return Number.isSafeInteger(index) && numberPath(index) === path ? index : undefined;
}

/** How many hashes the tile has in a tree of `size` leaves; 0 when there is none. */
export function widthOf(o: { readonly level: number; readonly index: number; readonly size: number }): number {
  const hashes = Math.floor(o.size / tileWidth ** o.level);
  return Math.max(0, Math.min(tileWidth, hashes - o.index * tileWidth));
}

function partial(width: number): string {
  return width === tileWidth ? '' : `.p/${width}`;
}

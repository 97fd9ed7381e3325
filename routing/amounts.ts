// Amounts as resources have them, as numbers. Their form was checked with the shape, so whatever else comes is a mistake of ours.
import { parseDuration } from '#base/duration';

/** Milliseconds. */
export function durationOf(text: string): number {
  return parseDuration(text) ?? invalid(text);
}

/** Bytes of `1024`, `512KiB`, `10MiB` or `1GiB`. */
export function bytesOf(text: string): number {
  const [, count, unit] = /^([0-9]{1,12})(KiB|MiB|GiB)?$/.exec(text) ?? invalid(text);
  return Number(count) * { '': 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 }[unit ?? '']!;
}

/** 0 to 1 of `20%`. */
export function shareOf(text: string): number {
  const [, percent] = /^([0-9.]+)%$/.exec(text) ?? invalid(text);
  return Number(percent) / 100;
}

function invalid(text: string): never {
  throw new TypeError(`${JSON.stringify(text)} is no amount`);
}

// Addresses and times as text, and ranges of them as linear patterns over that text, for Casbin rows.
import { minuteOf, minutesOfWeek, parseAddress, type Span } from './span.ts';

/** 128 binary digits; `later` when the other end decides, `-` when it is not known. */
export function addressText(address: string | null | undefined): string {
  if (address === null) return 'later';
  const number = address === undefined ? undefined : parseAddress(address);
  return number === undefined ? '-' : number.toString(2).padStart(128, '0');
}

/** Blocks have a power of two as their size: a prefix of the digits, and any others. */
export function addressPatterns(spans: readonly Span[]): string[] {
  return spans.map(({ start, end }) => {
    const free = (end - start).toString(2).length - 1;
    return `${start
      .toString(2)
      .padStart(128, '0')
      .slice(0, 128 - free)}[01]*`;
  });
}

/** The minute of the week in five digits, or `-`. */
export function timeText(time: number | undefined): string {
  return time === undefined ? '-' : String(minuteOf(time)).padStart(5, '0');
}

/** Each range as patterns of five digits. */
export function minutePatterns(spans: readonly Span[]): string[] {
  return spans.flatMap(({ start, end }) => ranges(Number(start), Math.min(Number(end), minutesOfWeek) - 1));
}

/** From `low` to `high`, both in: greedy blocks of ten, a hundred, a thousand. */
function ranges(low: number, high: number): string[] {
  const patterns: string[] = [];
  for (let at = low; at <= high; ) {
    let size = 1;
    while (at % (size * 10) === 0 && at + size * 10 - 1 <= high && size < 10_000) size *= 10;
    // As many blocks of this size as differ in one digit only.
    const digit = Math.floor(at / size) % 10;
    const last = Math.min(9, digit + Math.floor((high - at + 1) / size) - 1);
    const zeros = String(size).length - 1;
    const head = String(Math.floor(at / size / 10)).padStart(4 - zeros, '0');
    patterns.push(`${zeros === 4 ? '' : head}[${digit}-${last}]${'[0-9]'.repeat(zeros)}`);
    at += (last - digit + 1) * size;
  }
  return patterns;
}

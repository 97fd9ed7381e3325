// Addresses and times as ranges of whole numbers: 10.0.0.0/8, Mon-Fri 08:00-18:00. What cannot be read exactly is refused; an IPv4 address and the
// same one inside IPv6 are one.
import { isIPv4, isIPv6 } from 'node:net';

/** From `start` up to, and without, `end`. */
export interface Span {
  readonly start: bigint;
  readonly end: bigint;
}

export const minutesOfWeek = 10_080;
const mapped = 0xffffn << 32n;

/** The number of an address, IPv4 as in ::ffff:0:0/96; `undefined` for what is none, zones included. */
export function parseAddress(text: string): bigint | undefined {
  if (isIPv4(text)) return mapped | fromV4(text);
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  const low = dotted ? fromV4(dotted[2]!) : undefined;
  const plain = dotted ? `${dotted[1]}${(low! >> 16n).toString(16)}:${(low! & 0xffffn).toString(16)}` : text;
  const [head = '', tail] = plain.split('::');
  const groupsOf = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const front = groupsOf(head);
  const back = tail === undefined ? [] : groupsOf(tail);
  const zeros = tail === undefined ? [] : new Array<string>(8 - front.length - back.length).fill('0');
  return [...front, ...zeros, ...back].reduce((sum, group) => (sum << 16n) | BigInt(`0x${group}`), 0n);
}

export function isAddress(text: string): boolean {
  return parseAddress(text) !== undefined;
}

/** The text of an address, IPv4 in its own form. */
export function formatAddress(address: bigint): string {
  if (address >> 32n === 0xffffn) return [24n, 16n, 8n, 0n].map((shift) => (address >> shift) & 0xffn).join('.');
  return Array.from({ length: 8 }, (_, at) => ((address >> BigInt(112 - 16 * at)) & 0xffffn).toString(16)).join(':');
}

/** An address or a block of them, or (as a string) why it is neither. */
export function readBlock(text: string): Span | string {
  const [address = '', length, more] = text.split('/');
  const start = more === undefined ? parseAddress(address) : undefined;
  if (start === undefined) return 'it is neither an address nor a block such as 10.0.0.0/8';
  const width = isIPv4(address) ? 32 : 128;
  if (length === undefined) return { start, end: start + 1n };
  if (!/^(0|[1-9]\d{0,2})$/.test(length) || Number(length) > width)
    return `/${length} is not a length from 0 to ${width}`;
  const size = 1n << BigInt(width - Number(length));
  if (start % size !== 0n)
    return `it has bits after the first ${length}; write ${formatAddress(start - (start % size))}/${length}`;
  return { start, end: start + size };
}

const days = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];

/** `Mon-Fri 08:00-18:00`, `Sat 10:00-12:00`, `22:00-06:00` as minutes of the week (Monday 00:00 is 0), or why it is none. */
export function readTimes(text: string): readonly Span[] | string {
  const found = /^(?:(\w{3})(?:-(\w{3}))? )?(\d\d):(\d\d)-(\d\d):(\d\d)$/.exec(text);
  if (!found) return 'write it as 08:00-18:00 or Mon-Fri 08:00-18:00';
  const [, first = 'Mon', last = found[1] ?? 'Sun', ...times] = found;
  const [from, to] = [days.indexOf(first), days.indexOf(last)];
  if (from < 0 || to < 0) return `the days are ${days.join(', ')}`;
  const [startHour, startMinute, endHour, endMinute] = times.map(Number) as [number, number, number, number];
  const [start, end] = [startHour * 60 + startMinute, endHour * 60 + endMinute];
  if (startMinute > 59 || endMinute > 59 || start >= 1_440 || end > 1_440) return 'a time is from 00:00 to 24:00';
  if (start === end) return 'it begins when it ends';
  const length = (end - start + 1_440) % 1_440 || 1_440;
  const count = ((to - from + 7) % 7) + 1;
  return Array.from({ length: count }, (_, at) => (((from + at) % 7) * 1_440 + start) as number).flatMap((begin) => {
    const over = begin + length - minutesOfWeek;
    const span = (a: number, b: number): Span => ({ start: BigInt(a), end: BigInt(b) });
    return over > 0 ? [span(begin, minutesOfWeek), span(0, over)] : [span(begin, begin + length)];
  });
}

/** Minute of the week in UTC, Monday 00:00 being 0. */
export function minuteOf(epochMs: number): number {
  return (Math.floor(epochMs / 60_000) + 3 * 1_440) % minutesOfWeek;
}

export function inSpans(spans: readonly Span[], number: bigint): boolean {
  return spans.some(({ start, end }) => start <= number && number < end);
}

function fromV4(text: string): bigint {
  return text.split('.').reduce((sum, part) => (sum << 8n) | BigInt(part), 0n);
}

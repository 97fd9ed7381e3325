// How is this value written in DER? The few forms that certificates and certificate requests are made of.
import { tag } from './der.ts';

/** One value: identifier byte, minimal definite length, and the concatenated parts as content. */
export function der(identifier: number, ...parts: readonly Uint8Array[]): Buffer {
  let length = 0;
  for (const part of parts) length += part.length;
  const head = length < 0x80 ? 2 : length < 0x100 ? 3 : length < 0x10000 ? 4 : 5;
  const bytes = Buffer.allocUnsafe(head + length);
  bytes[0] = identifier;
  if (head === 2) bytes[1] = length;
  else {
    bytes[1] = 0x80 | (head - 2);
    bytes.writeUIntBE(length, 2, head - 2);
  }
  let at = head;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

export function sequence(...parts: readonly Uint8Array[]): Buffer {
  return der(tag.sequence, ...parts);
}

/** A non-negative INTEGER from its big-endian bytes, which may have leading zeros. */
export function unsignedInteger(bytes: Uint8Array): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const minimal = bytes.subarray(start);
  return (minimal[0] ?? 0) >= 0x80 ? der(tag.integer, Buffer.of(0), minimal) : der(tag.integer, minimal);
}

export function smallInteger(value: number): Buffer {
  return unsignedInteger(Buffer.of(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255));
}

/** A BIT STRING of whole bytes. */
export function bits(bytes: Uint8Array): Buffer {
  return der(tag.bitString, Buffer.of(0), bytes);
}

export function octets(...parts: readonly Uint8Array[]): Buffer {
  return der(tag.octetString, ...parts);
}

/** An OBJECT IDENTIFIER from its dotted form. */
export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const content = [first * 40 + second, ...rest].flatMap((arc) => {
    const septets = [arc & 0x7f];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128))
      septets.unshift((left & 0x7f) | 0x80);
    return septets;
  });
  return der(tag.oid, Buffer.from(content));
}

/** UTCTime to 2049, GeneralizedTime after (RFC 5280 section 4.1.2.5); whole seconds, rounded down. */
export function time(epochMs: number): Buffer {
  const date = new Date(epochMs);
  const year = date.getUTCFullYear();
  const isUtc = year < 2050;
  const parts = [
    ...(isUtc ? [] : [Math.floor(year / 100)]),
    ...[year % 100, date.getUTCMonth() + 1, date.getUTCDate()],
    ...[date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()],
  ];
  const content = Buffer.allocUnsafe(parts.length * 2 + 1);
  for (const [index, part] of parts.entries()) {
    content[index * 2] = 0x30 + Math.floor(part / 10);
    content[index * 2 + 1] = 0x30 + (part % 10);
  }
  content[parts.length * 2] = 0x5a;
  return der(isUtc ? tag.utcTime : tag.generalizedTime, content);
}

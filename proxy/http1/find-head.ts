// Where a head ends in the bytes that have come so far, refusing what can no longer become one. Looks at each byte once or twice, never keeps any.

export type HeadEnd =
  /** Text of the head without its last CRLFCRLF, and where the body begins. */
  | { readonly text: string; readonly next: number }
  /** More bytes are needed. */
  | undefined;

/** Throws by `tooLarge` above `limit` bytes, by `refuse` at a bare LF. One empty line before the head is passed over (RFC 9112 section 2.2). */
export function findHead(
  bytes: Buffer,
  from: number,
  o: { limit: number; tooLarge: () => never; refuse: (reason: string) => never },
): HeadEnd {
  const begin = bytes[from] === 13 && bytes[from + 1] === 10 ? from + 2 : from;
  const end = bytes.indexOf('\r\n\r\n', begin, 'latin1');
  if ((end < 0 ? bytes.length : end + 4) - begin > o.limit) o.tooLarge();
  if (end >= 0) return { text: bytes.toString('latin1', begin, end), next: end + 4 };
  for (let at = bytes.indexOf(10, begin); at >= 0; at = bytes.indexOf(10, at + 1))
    if (at === begin || bytes[at - 1] !== 13) o.refuse('a line ends in a bare LF');
  return undefined;
}

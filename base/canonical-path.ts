// The one form of a path that policy, router, record and upstream all see. Whatever could be read in two ways is refused; the rest is
// folded exactly once, so the result of folding is its own fixed point. Paths are case-sensitive. Never decodes twice.

/** Ends the folding: throws. The reason reads after "the path is refused: ". */
export type Refuse = (reason: string) => never;

/** Segments of plain characters that do not begin with a dot: nearly every path there is. */
const plain = /^\/(?:[\w~!$&'()*+,=:@-][\w.~!$&'()*+,=:@-]*(?:\/|$))*$/;
/** What a path may hold unescaped (RFC 3986 section 3.3), without `;`: servers disagree about path parameters. */
const allowed = /^[\w.~!$&'()*+,=:@/-]$/;

/** Canonical path of an origin-form target without its query. */
export function foldPath(raw: string, refuse: Refuse): string {
  return plain.test(raw) ? raw : removeDotSegments(decodeOnce(raw, refuse).replace(/\/{2,}/g, '/'), refuse);
}

/**
 * Decodes what a path may hold unescaped and upper-cases every other escape. Applications decode both spellings to the same bytes, so a rule
 * written for one must hold for the other.
 */
function decodeOnce(raw: string, refuse: Refuse): string {
  if (raw.charCodeAt(0) !== 47) refuse('it does not begin with /');
  let path = '';
  for (let at = 0; at < raw.length; at++) {
    const char = raw[at]!;
    if (char !== '%') {
      if (!allowed.test(char)) refuse(`it has ${JSON.stringify(char)}`);
      path += char;
      continue;
    }
    const hex = raw.slice(at + 1, at + 3);
    if (!/^[0-9a-f]{2}$/i.test(hex)) refuse('it has a % that begins no escape');
    const code = Number.parseInt(hex, 16);
    if (code < 0x20 || code === 0x7f) refuse('it has an escaped control character');
    const decoded = String.fromCharCode(code);
    // An escaped slash, backslash, percent sign, semicolon, question mark or hash is read differently by every server.
    if ('/\\%;?#'.includes(decoded)) refuse(`it has an escaped ${decoded}`);
    path += allowed.test(decoded) ? decoded : `%${hex.toUpperCase()}`;
    at += 2;
  }
  if (/%[89A-F]/.test(path) && !isUtf8(path)) refuse('its escapes are not UTF-8');
  return path;
}

/** True when the escaped bytes are well-formed UTF-8 (no overlong forms, no surrogates). */
function isUtf8(path: string): boolean {
  try {
    decodeURIComponent(path);
    return true;
  } catch {
    return false;
  }
}

/** RFC 3986 section 5.2.4, except that climbing above the root is refused rather than ignored. */
function removeDotSegments(path: string, refuse: Refuse): string {
  if (!path.includes('/.')) return path;
  const kept: string[] = [];
  const segments = path.slice(1).split('/');
  for (const [index, segment] of segments.entries()) {
    const last = index === segments.length - 1;
    if (segment === '..' && kept.pop() === undefined) refuse('it climbs above the root');
    if (segment !== '.' && segment !== '..') kept.push(segment);
    else if (last) kept.push('');
  }
  return `/${kept.join('/')}`;
}

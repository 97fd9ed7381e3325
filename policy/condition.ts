// Whether a rule's `when` holds. A header can come several times: a deny holds when ANY of its values is listed, an allow only when there
// is a value and ALL of them are. Never lets a second, joined or padded value slip past a deny or into an allow.

/** One condition, ready to be asked. */
export interface HeaderCondition {
  /** Lower case. */
  readonly header: string;
  readonly values: ReadonlySet<string>;
}
export type Headers = (name: string) => readonly string[];

/** The header that a condition looks at, or why it may not. `key` is as written: `header:x-env`. */
export function readConditionKey(key: string): { readonly header: string } | { readonly fault: string } {
  if (key.startsWith('jwt:')) {
    return { fault: 'conditions on JWT claims need a JwtIssuer resource, which this version does not have' };
  }
  if (!key.startsWith('header:')) return { fault: 'a condition looks at a header: write header:NAME' };
  const header = key.slice(7);
  if (!/^[a-z0-9!#$%&'*+.^`|~-]{1,128}$/.test(header)) {
    return { fault: `${JSON.stringify(header)} is not a header name; write it in lower case, without _` };
  }
  if (header.startsWith('x-postern-') || header === 'x-forwarded-client-cert') {
    return { fault: `${header} is set by the mesh itself; use from to ask who calls` };
  }
  return { header };
}

/** Why a listed value can never be a header's value, if so. */
export function valueFault(value: string): string | undefined {
  if (value !== trimmed(value)) return 'it has white space at its ends, which header values never have';
  return /[^\t -~]/u.test(value) ? 'it has a character that requests may not have in a header' : undefined;
}

/** All of them hold for a rule of this effect. */
export function conditionsHold(conditions: readonly HeaderCondition[], deny: boolean, headers: Headers): boolean {
  for (const { header, values } of conditions) {
    const given = headers(header);
    if (!(deny ? anyListed(given, values) : allListed(given, values))) return false;
  }
  return true;
}

/** What a deny compares: each value as it is, and each member of one that is a comma-separated list (RFC 9110 section 5.3). */
export function readings(given: readonly string[]): string[] {
  return given.flatMap((value) => {
    const whole = trimmed(value);
    return whole.includes(',') ? [whole, ...whole.split(',').map(trimmed)] : [whole];
  });
}

/** Without the optional white space (RFC 9110 section 5.6.3) at both ends. */
export function trimmed(value: string): string {
  let start = 0;
  let end = value.length;
  while (start < end && isBlank(value.charCodeAt(start))) start++;
  while (end > start && isBlank(value.charCodeAt(end - 1))) end--;
  return start === 0 && end === value.length ? value : value.slice(start, end);
}

function anyListed(given: readonly string[], values: ReadonlySet<string>): boolean {
  for (const value of given) {
    if (values.has(trimmed(value))) return true;
    if (value.includes(',') && value.split(',').some((member) => values.has(trimmed(member)))) return true;
  }
  return false;
}

function allListed(given: readonly string[], values: ReadonlySet<string>): boolean {
  if (given.length === 0) return false;
  for (const value of given) if (!values.has(trimmed(value))) return false;
  return true;
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

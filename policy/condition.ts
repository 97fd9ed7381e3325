// Whether a rule's `when` holds. A header can come several times: a deny holds when ANY of its values is listed, an allow only when there
// is a value and ALL of them are. Never lets a second, joined or padded value slip past a deny or into an allow; what is not known fails closed.
import { inSpans, minuteOf, parseAddress, readBlock, readTimes, type Span } from './span.ts';

/** One condition, ready to be asked. */
export type Condition = ListCondition | SpanCondition;
export interface ListCondition {
  readonly kind: 'header' | 'claim';
  /** As written: `header:x-env`, `jwt:claims.role`. */
  readonly key: string;
  /** Lower case for a header; of a claim, its path. */
  readonly name: string;
  readonly values: ReadonlySet<string>;
}
export interface SpanCondition {
  readonly kind: 'address' | 'time';
  readonly key: string;
  readonly spans: readonly Span[];
  /** As written. */
  readonly values: ReadonlySet<string>;
}
export type Headers = (name: string) => readonly string[];

/** What conditions look at in a request. */
export interface Circumstances {
  /** All values of a header, by lower-case name. */
  readonly headers: Headers;
  /** The values of a claim of the verified token; absent when the request has no token. A bad token never gets here. */
  readonly claims?: ((name: string) => readonly string[]) | undefined;
  /** Where the request comes from. Absent: not known. `null`: only the other end of the connection can know, and decides. */
  readonly address?: string | null | undefined;
  /** Epoch milliseconds. Absent: not known. */
  readonly time?: number | undefined;
}

/** What a condition looks at, or why it may not. */
export function readConditionKey(
  key: string,
): { readonly kind: Condition['kind']; readonly name: string } | { readonly fault: string } {
  if (key === 'source:address') return { kind: 'address', name: '' };
  if (key === 'time:utc') return { kind: 'time', name: '' };
  if (key.startsWith('jwt:')) {
    const name = key.startsWith('jwt:claims.') ? key.slice(11) : '';
    if (/^[!-~]{1,128}$/.test(name)) return { kind: 'claim', name };
    return { fault: 'a condition on a token is written jwt:claims.NAME' };
  }
  if (!key.startsWith('header:')) {
    return { fault: 'a condition looks at header:NAME, jwt:claims.NAME, source:address or time:utc' };
  }
  const name = key.slice(7);
  if (!/^[a-z0-9!#$%&'*+.^`|~-]{1,128}$/.test(name)) {
    return { fault: `${JSON.stringify(name)} is not a header name; write it in lower case, without _` };
  }
  if (name.startsWith('x-postern-') || name === 'x-forwarded-client-cert') {
    return { fault: `${name} is set by the mesh itself; use from to ask who calls` };
  }
  return { kind: 'header', name };
}

/** A condition as operators wrote it, ready to be asked; or what is wrong, and with which of its values. */
export function readCondition({
  key,
  in: listed,
}: {
  readonly key: string;
  readonly in: readonly string[];
}):
  | { readonly condition: Condition }
  | { readonly faults: readonly { readonly at?: number; readonly fault: string }[] } {
  const read = readConditionKey(key);
  if ('fault' in read) return { faults: [read] };
  const { kind, name } = read;
  const spans: Span[] = [];
  const faults = listed.flatMap((value, at) => {
    const found =
      kind === 'address' ? readBlock(value) : kind === 'time' ? readTimes(value) : (valueFault(value) ?? []);
    if (typeof found === 'string') return [{ at, fault: found }];
    spans.push(...[found].flat());
    return [];
  });
  if (faults.length > 0) return { faults };
  const values = new Set(listed);
  return {
    condition: kind === 'address' || kind === 'time' ? { kind, key, spans, values } : { kind, key, name, values },
  };
}

/** Why a listed value can never be a header's value, if so. */
export function valueFault(value: string): string | undefined {
  if (value !== trimmed(value)) return 'it has white space at its ends, which header values never have';
  return /[^\t -~]/u.test(value) ? 'it has a character that requests may not have in a header' : undefined;
}

/** All of them hold for a rule of this effect. */
export function conditionsHold(conditions: readonly Condition[], deny: boolean, asked: Circumstances): boolean {
  for (const condition of conditions) if (!conditionHolds(condition, deny, asked)) return false;
  return true;
}

function conditionHolds(condition: Condition, deny: boolean, asked: Circumstances): boolean {
  switch (condition.kind) {
    case 'header': {
      const given = asked.headers(condition.name);
      return deny ? anyListed(given, condition.values) : allListed(given, condition.values);
    }
    // Signed as it is, so one listed value is enough; and a token that is not there has none.
    case 'claim':
      return asked.claims?.(condition.name).some((value) => condition.values.has(value)) ?? false;
    case 'address': {
      if (asked.address === null) return !deny;
      const address = asked.address === undefined ? undefined : parseAddress(asked.address);
      return address === undefined ? deny : inSpans(condition.spans, address);
    }
    case 'time':
      return asked.time === undefined ? deny : inSpans(condition.spans, BigInt(minuteOf(asked.time)));
  }
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

// Is there a request state (port, headers) in which some rules hold and others do not? Decided exactly, with a state as the proof: conditions on
// different keys never interact, and on one key a largest or an empty set of values settles every question.
import { type Condition, readings, type SpanCondition } from '../condition.ts';
import { fail } from '../errors.ts';
import type { ReadRule } from '../rule.ts';
import { inSpans, minutesOfWeek } from '../span.ts';

/** What of a request is left when from, to, method and path are given. */
export interface State {
  /** `undefined`: the port is not known. */
  readonly port: number | undefined;
  readonly headers: Readonly<Record<string, readonly string[]>>;
  /** Of a verified token; none: no token is needed. */
  readonly claims: Readonly<Record<string, readonly string[]>>;
  /** As a number; absent: any. */
  readonly address?: bigint;
  /** A minute of the week; absent: any. */
  readonly minute?: number;
}

/** What states look at in a rule. */
export type Stated = Pick<ReadRule, 'deny' | 'ports' | 'conditions'>;

interface Literal {
  readonly key: string;
  readonly deny: boolean;
  readonly ports?: ReadonlySet<number>;
  readonly condition?: Condition;
}
interface Claim {
  readonly literal: Literal;
  readonly holds: boolean;
}
type Claims = ReadonlyMap<string, readonly Claim[]>;

/** How many cases one question may need: rules made to explode are refused, never answered by a guess. */
const mostCases = 200_000;

/** A state in which all of `holding` hold and none of `failing` does; `undefined` when there is none. Throws `POLICY_TOO_COMPLEX`. */
export function findState(holding: readonly Stated[], failing: readonly Stated[]): State | undefined {
  let claims: Claims = new Map();
  for (const literal of holding.flatMap(literalsOf)) {
    const next = claim(claims, literal, true);
    if (!next) return undefined;
    claims = next;
  }
  const open = failing.map(literalsOf);
  if (open.some((literals) => literals.length === 0)) return undefined;
  open.sort((a, b) => a.length - b.length);
  let cases = 0;
  const search = (known: Claims, at: number): Claims | undefined => {
    if (++cases > mostCases) throw fail('POLICY_TOO_COMPLEX', { what: 'its conditions overlap in too many ways' });
    const literals = open[at];
    if (!literals) return known;
    if (!canAllHold(known, literals)) return search(known, at + 1);
    for (const literal of literals) {
      const next = claim(known, literal, false);
      const found = next && search(next, at + 1);
      if (found) return found;
    }
    return undefined;
  };
  const found = search(claims, 0);
  return found && stateOf(found);
}

function literalsOf({ deny, ports, conditions }: Stated): Literal[] {
  return [
    ...(ports ? [{ key: 'port', deny, ports }] : []),
    ...(conditions ?? []).map((condition) => ({ key: condition.key, deny, condition })),
  ];
}

function canAllHold(claims: Claims, literals: readonly Literal[]): boolean {
  let all: Claims | undefined = claims;
  for (const literal of literals) {
    all = claim(all, literal, true);
    if (!all) return false;
  }
  return true;
}

/** With one more claim; `undefined` when that contradicts the others. */
function claim(claims: Claims, literal: Literal, holds: boolean): Claims | undefined {
  const about = [...(claims.get(literal.key) ?? []), { literal, holds }];
  return isConsistent(about) ? new Map(claims).set(literal.key, about) : undefined;
}

function isConsistent(about: readonly Claim[]): boolean {
  const { condition } = about[0]!.literal;
  switch (condition?.kind) {
    case undefined:
      return portOf(about) !== undefined;
    case 'header':
      return valuesOf(about) !== undefined;
    case 'claim':
      return claimedOf(about) !== undefined;
    default:
      return numberOf(about) !== undefined;
  }
}

function stateOf(claims: Claims): State {
  const headers: Record<string, readonly string[]> = {};
  const token: Record<string, readonly string[]> = {};
  let [port, address, minute]: [number?, bigint?, number?] = [];
  for (const about of claims.values()) {
    const { condition } = about[0]!.literal;
    if (!condition) port = portOf(about)!.port;
    else if (condition.kind === 'header') headers[condition.name] = fewest(about, valuesOf(about)!);
    else if (condition.kind === 'claim') token[condition.name] = claimedOf(about)!;
    else if (condition.kind === 'address') address = numberOf(about)!;
    else minute = Number(numberOf(about)!);
  }
  const known = { ...(address === undefined ? {} : { address }), ...(minute === undefined ? {} : { minute }) };
  return { port, headers, claims: token, ...known };
}

/** The values of a claim: one listed value is enough, whether for an allow or a deny. */
function claimedOf(claims: readonly Claim[]): readonly string[] | undefined {
  const banned = new Set(claims.flatMap(({ literal, holds }) => (holds ? [] : [...listOf(literal)])));
  const needed = claims.filter(({ holds }) => holds).map(({ literal }) => listOf(literal));
  const values = new Set<string>();
  for (const list of needed) {
    if ([...list].some((value) => values.has(value))) continue;
    const value = [...list].find((one) => !banned.has(one));
    if (value === undefined) return undefined;
    values.add(value);
  }
  return [...values];
}

/** An address or a minute. Between the edges of all the ranges nothing changes, so the edges stand for everything. */
function numberOf(claims: readonly Claim[]): bigint | undefined {
  const asked = claims.map(({ literal, holds }) => ({ ...(literal.condition as SpanCondition), holds }));
  const size = asked[0]!.kind === 'time' ? BigInt(minutesOfWeek) : 1n << 128n;
  const edges = asked.flatMap(({ spans }) => spans.flatMap(({ start, end }) => [start, end]));
  // Addresses that people know how to read come first.
  const candidates = [...edges, 0xffff_c0000201n, 0n].filter((one) => one < size);
  return candidates.find((one) => asked.every(({ spans, holds }) => inSpans(spans, one) === holds));
}

/** An allow with ports does not hold while the port is not known; a deny with ports does. */
function portOf(claims: readonly Claim[]): { port: number | undefined } | undefined {
  const named = new Set(claims.flatMap(({ literal }) => [...literal.ports!]));
  let other = 8_080;
  while (named.has(other)) other = (other % 65_535) + 1;
  const candidates = named.size < 65_535 ? [...named, other] : [...named];
  for (const port of [...candidates, undefined]) {
    const fits = ({ literal, holds }: Claim): boolean =>
      (port === undefined ? literal.deny : literal.ports!.has(port)) === holds;
    if (claims.every(fits)) return { port };
  }
  return undefined;
}

/** The values of a header for which all claims are true, as many as there can be; `undefined` when there are none. */
function valuesOf(claims: readonly Claim[]): readonly string[] | undefined {
  const of = (deny: boolean, holds: boolean): ReadonlySet<string>[] =>
    claims
      .filter((one) => one.literal.deny === deny && one.holds === holds)
      .map((one) => one.literal.condition!.values);
  const [bounds, outside, needed, banned] = [of(false, true), of(false, false), of(true, true), of(true, false)];
  const isBanned = (value: string): boolean =>
    readings([value]).some((reading) => banned.some((values) => values.has(reading)));
  // More values never make a bound that is missed, a needed value or a value outside less true: so the largest set decides.
  const [bound] = bounds;
  const pool = bound
    ? [...bound].filter((value) => bounds.every((values) => values.has(value)))
    : [...needed.flatMap((values) => [...values]), freshValue(claims)];
  const values = [...new Set(pool)].filter((value) => !isBanned(value));
  if (bound ? values.length === 0 : false) return undefined;
  const hits = (set: ReadonlySet<string>): boolean =>
    values.some((value) => readings([value]).some((one) => set.has(one)));
  if (!needed.every(hits)) return undefined;
  // A header that is absent is outside of every allow's list.
  if (!bound && needed.length === 0) return outside.length === 0 ? [] : values;
  return outside.every((set) => values.some((value) => !set.has(value))) ? values : undefined;
}

/** Fewer values for which the claims are true as well: easier to read. */
function fewest(claims: readonly Claim[], values: readonly string[]): readonly string[] {
  const isTrue = (given: readonly string[]): boolean =>
    claims.every(({ literal, holds }) => {
      const set = listOf(literal);
      const found = literal.deny
        ? readings(given).some((one) => set.has(one))
        : given.length > 0 && given.every((one) => set.has(one));
      return found === holds;
    });
  let few = values;
  for (const value of values) {
    const without = few.filter((one) => one !== value);
    if (isTrue(without)) few = without;
  }
  return few;
}

function freshValue(claims: readonly Claim[]): string {
  const taken = new Set(claims.flatMap(({ literal }) => [...listOf(literal)]));
  for (let turn = 0; ; turn++) {
    const value = turn === 0 ? 'other' : `other${turn}`;
    if (!taken.has(value)) return value;
  }
}

function listOf({ condition }: Literal): ReadonlySet<string> {
  return condition!.values;
}

// What a request is hashed to, where its cluster chooses endpoints by that; and the cookie that keeps a caller at its endpoint, for who comes without one.
import { parseDuration } from '#base/duration';
import { hashOf, type LiveCluster } from '#routing';
import type { FieldList } from './request-head.ts';
import { addressOf, type Running } from './serve.ts';

type HashOn = NonNullable<LiveCluster['hashOn']>;
type StickyCookie = Extract<HashOn, { cookie: string }>;

/** `undefined` when it goes anywhere. */
export function hashFor(running: Running, { hashOn }: Pick<LiveCluster, 'hashOn'>): number | undefined {
  if (!hashOn) return undefined;
  const { exchange, heard } = running;
  const { fields, query, tunnel } = exchange.head;
  const hashable = { fields, query, identity: heard.caller?.uri ?? '', address: addressOf(heard) };
  const hash = hashOf(hashOn, hashable);
  if (hash !== undefined || !('cookie' in hashOn) || hashOn.ttl === undefined || tunnel === 'connect') return hash;
  const pair = `${hashOn.cookie}=${newValue(heard.plane.random)}`;
  giveCookie(running, hashOn, pair);
  return hashOf(hashOn, { ...hashable, fields: ['cookie', pair] });
}

/** Nothing is kept of it: every proxy hashes it to the same endpoint. */
function newValue(random: () => number): string {
  const part = (): string =>
    Math.floor(random() * 2 ** 32)
      .toString(16)
      .padStart(8, '0');
  return part() + part();
}

/** Unless the answer brings that cookie itself: of the application, or of a proxy further on. */
function giveCookie({ exchange, heard }: Running, { cookie, ttl = '0s' }: StickyCookie, pair: string): void {
  const { responseFields } = exchange;
  const seconds = Math.ceil((parseDuration(ttl) ?? 0) / 1_000);
  const attributes = [pair, 'Path=/', 'HttpOnly', 'SameSite=Lax'];
  if (seconds > 0) attributes.push(`Max-Age=${seconds}`);
  if (heard.isTls) attributes.push('Secure');
  const withCookie = (given: FieldList): FieldList => {
    const fields = responseFields(given);
    return setsCookie(fields, `${cookie}=`) ? fields : [...fields, 'set-cookie', attributes.join('; ')];
  };
  exchange.responseFields = withCookie;
}

function setsCookie(fields: FieldList, beginning: string): boolean {
  for (let at = 0; at < fields.length; at += 2)
    if (fields[at] === 'set-cookie' && fields[at + 1]!.startsWith(beginning)) return true;
  return false;
}

// Reading what a caller sent: its version first, then its whole shape. Nothing is used before both hold.
import type { PosternError } from '#base/error';
import { parseHostPort } from '#base/host-port';
import { check, type Schema } from '#base/schema';
import { type InstanceFacts, wireVersion } from '#wire';
import { fail } from './errors.ts';

/** The body as the message that `schema` describes; throws REQUEST_INVALID with every problem. */
export function readMessage<T>(schema: Schema<T>, body: unknown): T {
  const found = (body as { version?: unknown } | null | undefined)?.version;
  if (found !== undefined && found !== wireVersion) {
    throw invalid(`this server speaks version ${wireVersion}, the request ${JSON.stringify(found)?.slice(0, 40)}`);
  }
  return readValue(schema, body);
}

/** Query parameters, in which numbers are text. A parameter given twice is refused. */
export function readQuery<T>(schema: Schema<T>, query: unknown): T {
  const fields = schema.properties ?? {};
  const read = Object.entries(query as Record<string, unknown>).map(([name, value]) => {
    const isNumber = typeof value === 'string' && /^-?[0-9]{1,16}$/.test(value) && fields[name]?.type === 'integer';
    return [name, isNumber ? Number(value) : value];
  });
  return readValue(schema, Object.fromEntries(read));
}

/** What the shape cannot say of an instance's own word, and must hold: its address goes to every caller. Throws REQUEST_INVALID. */
export function assertFacts({ advertise }: InstanceFacts): void {
  // Port 0 is one that an enrolling sidecar does not know yet; its report says the real one.
  if (advertise !== undefined && !parseHostPort(advertise))
    throw invalid('/facts/advertise must be an address that exists: HOST:PORT');
}

function readValue<T>(schema: Schema<T>, value: unknown): T {
  const problems = check(schema, value);
  if (problems.length === 0) return value as T;
  const [first] = problems;
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
  throw fail(
    'REQUEST_INVALID',
    { reason: `${first?.pointer || 'it'} ${first?.message}${more}` },
    { problems: problems.slice(0, 100) },
  );
}

function invalid(reason: string): PosternError {
  return fail('REQUEST_INVALID', { reason });
}

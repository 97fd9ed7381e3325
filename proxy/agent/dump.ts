// What a proxy says of itself when an admin asks through the control plane: what its admin pages show, as one bounded answer. No key, no token, no
// value of a condition on a secret header.
import { messageOf } from '#base/error';
import type { Log } from '#base/log';
import { type DumpAnswer, largestDump, wireVersion } from '#wire';
import type { Channel } from '#wire/channel';

export interface DumpOptions {
  readonly channel: Pick<Channel, 'call'>;
  readonly log: Log;
  /** The parts of the answer by name, as they are at this moment. */
  readonly read: () => Readonly<Record<string, unknown>> | Promise<Readonly<Record<string, unknown>>>;
}

/** Room for the envelope. */
const roomFor = 4_096;

/** Never rejects. */
export async function answerDump(id: string, { channel, log, read }: DumpOptions): Promise<void> {
  try {
    const body: DumpAnswer = { version: wireVersion, id, dump: withinBytes(await read(), largestDump - roomFor) };
    await channel.call({ method: 'POST', path: '/v1/proxy/dump', body });
  } catch (thrown) {
    log.debug('a dump was not received', { reason: messageOf(thrown) });
  }
}

/** Without its largest parts, each replaced by its size, when the whole is longer than that as JSON. */
export function withinBytes(parts: Readonly<Record<string, unknown>>, most: number): Record<string, unknown> {
  const sizes = Object.entries(parts).map(([name, value]) => ({ name, bytes: lengthOf(value) }));
  const kept: Record<string, unknown> = { ...parts };
  let total = sizes.reduce((sum, { name, bytes }) => sum + bytes + name.length + 4, 2);
  for (const { name, bytes } of sizes.sort((a, b) => b.bytes - a.bytes)) {
    if (total <= most) break;
    kept[name] = { leftOut: `${bytes} bytes: ask the admin listener of the proxy itself` };
    total -= bytes - 100;
  }
  return kept;
}

function lengthOf(value: unknown): number {
  return value === undefined ? 0 : Buffer.byteLength(JSON.stringify(value) ?? '');
}

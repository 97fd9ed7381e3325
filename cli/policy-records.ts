// Recorded decisions from the control plane, page by page, counted as they come. Never keeps the records themselves.
import { parseDuration } from '#base/duration';
import type { Observed } from '#policy/tools';
import type { RecordReply } from '#wire';
import type { Api, CliContext } from './context.ts';
import { fail } from './errors.ts';

const page = 5_000;

/** Epoch milliseconds of `--since 24h`. */
export function sinceOf(text: string, now: number): number {
  const ago = parseDuration(text);
  if (ago !== undefined) return now - ago;
  throw fail('CLI_USAGE', { problem: `${text} is not a length of time`, fix: 'write how long ago, such as 24h or 7d' });
}

/** Everything that was decided since then. */
export async function fetchObserved(context: CliContext, api: Api, since: number): Promise<Observed> {
  const { createObserved } = await import('#policy/tools');
  const observed = createObserved();
  const stop = context.output.spin('reading decisions');
  try {
    for (let after = 0; ; ) {
      const path = `/v1/records?since=${since}&after=${after}&limit=${page}`;
      const { records, more, next } = await api.call<RecordReply>({ method: 'GET', path });
      for (const record of records) observed.add(record);
      if (!more || next === undefined || next <= after) return observed;
      after = next;
    }
  } finally {
    stop();
  }
}

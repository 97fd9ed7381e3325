// What a proxy says of itself, asked on its watch stream and answered by a call of its own. Few questions at a time, and none waits for long.
import { randomUUID } from 'node:crypto';
import type { Clock } from '#base/clock';
import type { LookEvent } from '#wire';
import { fail } from './errors.ts';

export interface Dumps {
  /** Throws DUMP_NOT_CONNECTED, DUMP_UNANSWERED or DUMP_FULL. */
  ask(instance: string): Promise<unknown>;
  /** An answer; one that nobody waits for, or of another instance than was asked, is dropped. */
  receive(instance: string, answer: { readonly id: string; readonly dump: unknown }): void;
}

export interface DumpsOptions {
  readonly tell: (instance: string, event: LookEvent) => boolean;
  readonly clock: Clock;
  readonly limit: number;
}

const answerMs = 5_000;

export function createDumps({ tell, clock, limit }: DumpsOptions): Dumps {
  const waiting = new Map<string, { readonly instance: string; readonly resolve: (dump: unknown) => void }>();
  return {
    async ask(instance) {
      if (waiting.size >= limit) throw fail('DUMP_FULL', { limit });
      const id = randomUUID();
      const answered = Promise.withResolvers<unknown>();
      waiting.set(id, { instance, resolve: answered.resolve });
      const cancel = clock.after(answerMs, () =>
        answered.reject(fail('DUMP_UNANSWERED', { instance, seconds: answerMs / 1_000 })),
      );
      try {
        if (!tell(instance, { type: 'dump', id })) throw fail('DUMP_NOT_CONNECTED', { instance });
        return await answered.promise;
      } finally {
        cancel();
        waiting.delete(id);
      }
    },
    receive(instance, { id, dump }) {
      const asked = waiting.get(id);
      if (asked?.instance === instance) asked.resolve(dump);
    },
  };
}

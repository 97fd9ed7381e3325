// A log's checkpoints on their way to their witness, the control plane, each with the proof that it continues the one before. One at a
// time; what the witness answers is kept beside the log.
import type { RecordLog } from '#audit/log';
import { createBackoff } from '#base/backoff';
import type { Clock } from '#base/clock';
import { isPosternError, messageOf } from '#base/error';
import type { Log } from '#base/log';
import { type CheckpointRequest, checkpointReply, wireVersion } from '#wire';
import type { Channel } from '#wire/channel';

export interface Witnessing {
  /** Shows the newest checkpoint once more and stops. */
  close(): Promise<void>;
}

export interface WitnessingOptions {
  readonly records: Pick<RecordLog, 'prover' | 'onCheckpoint'>;
  readonly channel: Channel;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

export function startWitnessing({ records, channel, clock, random, log }: WitnessingOptions): Witnessing {
  const { prover } = records;
  const backoff = createBackoff({ firstMs: 1_000, longestMs: 60_000, random });
  let running: Promise<void> | undefined;
  let cancel: (() => void) | undefined;
  let isFailing = false;
  let more = false;
  let isClosed = false;

  const show = async (): Promise<void> => {
    const newest = prover.checkpoint();
    const known = prover.witnessed();
    if (!newest || (known?.origin === newest.origin && known.size === newest.size)) return;
    const request = (from: number): CheckpointRequest => {
      const proof = prover.proof({ from, to: newest.size });
      // Sent without a proof it is an alarm at the witness, which is what it should be.
      return {
        version: wireVersion,
        verifierKey: prover.verifierKey(),
        checkpoint: newest.note,
        from,
        proof: proof ?? [],
      };
    };
    const send = (from: number) =>
      channel.call({ method: 'POST', path: '/v1/proxy/checkpoint', body: request(from), reply: checkpointReply });
    let reply = await send(known?.origin === newest.origin ? Math.min(known.size, newest.size) : 0);
    if (reply.outcome === 'behind') reply = await send(reply.size);
    if (reply.cosignature !== undefined) prover.keepCosignature(newest.note, reply.cosignature);
  };

  const attempt = async (): Promise<void> => {
    more = false;
    try {
      await show();
      isFailing = false;
      backoff.reset();
    } catch (thrown) {
      const fields = { reason: messageOf(thrown), ...(isPosternError(thrown) ? { code: thrown.code } : {}) };
      if (!isFailing) log.warn('a checkpoint of the decision log was not witnessed', fields);
      isFailing = true;
      if (!isClosed) cancel ??= clock.after(backoff.next(), start);
    }
  };
  const start = (): void => {
    cancel = undefined;
    running ??= attempt().finally(() => {
      running = undefined;
      if (more && !isFailing && !isClosed) start();
    });
  };

  records.onCheckpoint(() => {
    more = true;
    if (!running && !cancel && !isClosed) start();
  });
  start();

  return {
    async close() {
      isClosed = true;
      cancel?.();
      await running;
      await attempt();
    },
  };
}

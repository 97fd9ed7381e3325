// How many records are gone and which: runs of sequences waiting to be declared in gap records. Nothing is ever lost without passing here.

export type LossReason =
  | 'AUDIT_QUEUE_FULL'
  | 'AUDIT_RETENTION'
  | 'AUDIT_TAIL_TORN'
  | 'AUDIT_FILE_DAMAGED'
  | 'AUDIT_THREAD_ENDED';

export interface Loss {
  readonly reason: LossReason;
  readonly from: number;
  readonly count: number;
}

export function createLosses() {
  let waiting: (Loss & { count: number })[] = [];
  return {
    total: 0,
    /** Whether the operator was told of the run that is still growing. */
    reported: false,
    get pending(): number {
      return waiting.length;
    },
    add(loss: Loss): void {
      this.total += loss.count;
      this.addAgain(loss);
    },
    /** A loss that was declared before, by a gap record that is gone. */
    addAgain({ reason, from, count }: Loss): void {
      const run = waiting.at(-1);
      if (run && run.reason === reason && run.from + run.count === from) run.count += count;
      else waiting.push({ reason, from, count });
    },
    /** Hands over what is to be declared now. */
    take(): readonly Loss[] {
      const taken = waiting;
      waiting = [];
      return taken;
    },
  };
}

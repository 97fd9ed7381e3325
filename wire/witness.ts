// A proxy's log and its witness: the proxy shows each checkpoint with the proof that it continues the one before; the witness cosigns it.
import { type Static, s } from '#base/schema';
import { wireVersion } from './version.ts';

/** POST /v1/proxy/checkpoint over mTLS. */
export const checkpointRequest = s.object({
  version: s.literal(wireVersion),
  verifierKey: s.string({ maxLength: 4_096, description: "the log's key: name+id+key (c2sp.org/signed-note)" }),
  checkpoint: s.string({ maxLength: 16_384, description: 'the signed note, verbatim' }),
  from: s.integer({ minimum: 0, description: 'size of the tree that the proof begins at' }),
  proof: s.array(s.string({ maxLength: 44 }), { maxItems: 64, description: 'base64 hashes, RFC 6962 section 2.1.2' }),
});
export type CheckpointRequest = Static<typeof checkpointRequest>;

/** `behind`: the proof must begin at `size`, the newest tree that the witness knows. */
export const checkpointReply = s.object({
  outcome: s.enum(['cosigned', 'behind']),
  size: s.integer({ minimum: 0 }),
  cosignature: s.optional(s.string({ maxLength: 4_096, description: 'the line to put under the checkpoint' })),
});
export type CheckpointReply = Static<typeof checkpointReply>;

/** One proxy's log as its witness knows it. */
export interface WitnessedLog {
  readonly instance: string;
  readonly service: string;
  readonly origin: string;
  readonly verifierKey: string;
  readonly size: number;
  /** The newest checkpoint, cosigned. */
  readonly checkpoint: string;
  /** Epoch milliseconds. */
  readonly seenAt: number;
  /** An AUDIT_ code: what is wrong with the log. */
  readonly alarm?: string;
  readonly reason?: string;
}

/** GET /v1/logs: every log that is witnessed, and the witness's own key. */
export interface WitnessReply {
  readonly witness: string;
  readonly logs: readonly WitnessedLog[];
}

/** POST /v1/logs/acknowledge: a person has looked at a log's alarm. */
export const acknowledgeRequest = s.object({ instance: s.string({ minLength: 1, maxLength: 64 }) });

/** POST /v1/records/mask: erases values of the records that are kept; answered with how many. */
export const maskRequest = s.object({
  fields: s.array(s.enum(['endpoint', 'host', 'path', 'peer', 'remote', 'traceId']), { minItems: 1, maxItems: 6 }),
  before: s.optional(s.integer({ minimum: 0, description: 'epoch milliseconds' })),
  id: s.optional(s.string({ minLength: 1, maxLength: 64 })),
});
export interface MaskReply {
  readonly erased: number;
}

/** GET /v1/records/top: how often what was decided, in whole hours. */
export const tallyQuery = s.object({
  by: s.enum(['denied-pairs', 'rules', 'hours']),
  since: s.optional(s.integer({ minimum: 0 })),
  until: s.optional(s.integer({ minimum: 0 })),
  limit: s.optional(s.integer({ minimum: 1, maximum: 1_000 })),
});

// What the main thread and a data-plane thread say to each other. Plain values and keys only; both are the same version, so nothing is checked.
import type { KeyObject } from 'node:crypto';
import type { Fields, Level } from '#base/log';
import type { Samples } from '#base/metrics';
import type { Snapshot } from '#wire';
import type { DataPlaneOptions } from './data-plane.ts';
import type { RecordDraft } from './exchange-record.ts';

/** With what a thread begins. */
export interface WorkerStart {
  readonly settings: Pick<
    DataPlaneOptions,
    'app' | 'inbound' | 'outbound' | 'upstreams' | 'instance' | 'drainMs' | 'limits' | 'linkProtocols'
  >;
  /** Shared with the main thread, as 32-bit integers: see `slot`. */
  readonly shared: SharedArrayBuffer;
}

/** Numbers that either side may look at without asking. */
export const slot = { inbound: 0, outbound: 1, mayNotRecord: 2, count: 3 } as const;

export type ToWorker =
  | { readonly type: 'identity'; readonly key: KeyObject; readonly chain: readonly Uint8Array[] }
  | { readonly type: 'snapshot'; readonly snapshot: Snapshot }
  | { readonly type: 'listen' | 'drain' | 'describe'; readonly id: number };

export type FromWorker =
  | { readonly type: 'records'; readonly records: readonly RecordDraft[] }
  | { readonly type: 'log'; readonly level: Level; readonly message: string; readonly fields: Fields | undefined }
  | { readonly type: 'sample'; readonly sample: Samples }
  /** The thread cannot take what the main one has taken. */
  | { readonly type: 'refused'; readonly reason: string }
  | { readonly type: 'answer'; readonly id: number; readonly value?: unknown; readonly failure?: string };

// What the main thread and a data-plane thread say to each other. Plain values and keys only; both are the same version, so nothing is checked.
import type { KeyObject } from 'node:crypto';
import type { Fields, Level } from '#base/log';
import type { Samples } from '#base/metrics';
import type { Snapshot } from '#wire';
import type { DataPlaneOptions } from './data-plane.ts';
import type { Failing } from './health/health-checks.ts';
import type { Ports } from './ports.ts';
import type { ToldSnapshot } from './worker-snapshot.ts';

/** With what a thread begins: what is in force at that moment. */
export interface WorkerStart {
  readonly settings: Pick<
    DataPlaneOptions,
    | 'app'
    | keyof Ports
    | 'instance'
    | 'drainMs'
    | 'limits'
    | 'linkProtocols'
    | 'part'
    | 'zone'
    | 'clientCertificates'
    | 'nameServers'
  >;
  /** Shared with the main thread, as 32-bit integers: see `slot`. */
  readonly shared: SharedArrayBuffer;
  readonly identity: PlainIdentity | undefined;
  readonly snapshot: Snapshot | undefined;
  /** What health checks have found until now. */
  readonly failing: Failing;
  /** What a request is refused with when too many records wait for the main thread; without it, records above that are lost and counted. */
  readonly blocked: PlainError | undefined;
}

export interface PlainIdentity {
  readonly key: KeyObject;
  readonly chain: readonly Uint8Array[];
}

/** A `PosternError` on its way. */
export interface PlainError {
  readonly code: string;
  readonly message: string;
  readonly status: number;
  readonly retryable: boolean;
  readonly exposed: string;
}

/** Numbers that either side may look at without asking: open connections, records made and lost by the thread, records taken by the main one. */
export const slot = { inbound: 0, outbound: 1, made: 2, lost: 3, taken: 4, count: 5 } as const;

/** The most records of one thread that wait for the main one. */
export const mostUnderway = 8_192;

export type ToWorker =
  | ({ readonly type: 'identity' } & PlainIdentity)
  | { readonly type: 'snapshot'; readonly id: number; readonly told: ToldSnapshot }
  /** Where to listen from now on. */
  | { readonly type: 'ports'; readonly id: number; readonly ports: Ports }
  /** With what requests are refused because decisions cannot be recorded; nothing: they can. */
  | { readonly type: 'recording'; readonly refusal: PlainError | undefined }
  /** What health checks have found: one thread asks for all. */
  | { readonly type: 'health'; readonly failing: Failing }
  | { readonly type: 'look'; readonly id: number }
  /** A second one cuts. */
  | { readonly type: 'drain' };

export type Outcome = 'in-force' | 'superseded' | 'refused';

export type FromWorker =
  | { readonly type: 'listening' }
  /** JSON: half the cost of having the objects cloned. */
  | { readonly type: 'records'; readonly text: string }
  | { readonly type: 'log'; readonly level: Level; readonly message: string; readonly fields: Fields | undefined }
  | { readonly type: 'settled'; readonly id: number; readonly outcome: Outcome; readonly reason?: string }
  | { readonly type: 'seen'; readonly id: number; readonly samples: Samples; readonly description: unknown }
  | { readonly type: 'listens'; readonly id: number }
  | { readonly type: 'drained' };

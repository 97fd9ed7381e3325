// What a proxy needs to record its decisions, without the store, the witness and the tools that only a control plane and the command line load.
export type { MaskableField } from './entry.ts';
export type { LogProver } from './prover.ts';
export type { RecordLog, RecordLogOptions, RecordMode } from './record-log.ts';
export { createRecordLog } from './record-log.ts';
export type { RecordLine } from './record-queue.ts';

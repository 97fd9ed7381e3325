// Decision records: written by proxies without holding up a request, kept and searched by the control plane. Knows no policy and no proxy.
export { canonicalJson, encodeRecord } from './canonical.ts';
export type { MaskableField } from './entry.ts';
export { entryOfRecord, maskableFields } from './entry.ts';
export { auditErrors } from './errors.ts';
export { matchesRecord } from './match.ts';
export { formatVerifierKey, type NoteKey, parseVerifierKey } from './merkle/note.ts';
export type { LogProver } from './prover.ts';
export type { RecordLog, RecordLogOptions, RecordMode } from './record-log.ts';
export { createRecordLog } from './record-log.ts';
export type { Gap, RecordStore, RecordStoreOptions } from './record-store.ts';
export { openRecordStore } from './record-store.ts';
export type { TallyQuery, TallyRow } from './tallies.ts';
export type { LogFault, LogVerdict } from './verify-log.ts';
export { verifyLog } from './verify-log.ts';
export type { Alarm, Witness } from './witness.ts';
export { openWitnessKey } from './witness.ts';

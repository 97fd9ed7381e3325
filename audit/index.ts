// Decision records: written by proxies without holding up a request, kept and searched by the control plane. Knows no policy and no proxy.
export { canonicalJson, encodeRecord } from './canonical.ts';
export { auditErrors } from './errors.ts';
export { matchesRecord } from './match.ts';
export type { RecordLog, RecordLogOptions, RecordMode } from './record-log.ts';
export { createRecordLog } from './record-log.ts';
export type { Gap, RecordStore, RecordStoreOptions } from './record-store.ts';
export { openRecordStore } from './record-store.ts';

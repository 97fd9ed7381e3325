// What a log's entry is: the record in canonical JSON with its maskable values replaced by salted commitments, and those values, with
// their salts, on a line beside it. A value can be erased there at any time; the entry, its hash and every proof stay as they are.
import { hash } from 'node:crypto';
import type { DecisionRecord } from '#wire';
import { fitRecord, type NewRecord, tightBounds } from './canonical.ts';
import { longestEntry } from './log-files.ts';
import { newSalt, saltLength } from './salt.ts';

/** Fields whose values may have to be erased one day. Which of them are is chosen for each log. */
export const maskableFields = ['endpoint', 'host', 'path', 'peer', 'remote', 'traceId'] as const;
export type MaskableField = (typeof maskableFields)[number];
export const defaultMaskable: readonly MaskableField[] = ['host', 'path', 'remote'];

/** Salt and value by field; `null` where the value has been erased. */
export type ClearValues = Readonly<Record<string, readonly [salt: string, value: string] | null>>;

/** Room for the commitments of all maskable fields. */
const blindedBytes = 6 * 70;

/** One record as two lines of JSON, made where the record is, to be bound together by `commitmentsOf` where there is time for hashing. */
export interface Halves {
  /** Canonical, without the maskable fields. */
  readonly rest: string;
  /** `ClearValues`. */
  readonly clear: string;
}

/** The halves of a record under this sequence, within the bounds of `fitRecord` and of an entry. `maskable` is in order. */
export function splitRecord(record: NewRecord, seq: number, maskable: readonly MaskableField[]): Halves {
  const halves = cut(fitRecord(record, seq), maskable);
  if (halves.rest.length * 3 + blindedBytes <= longestEntry) return halves;
  if (Buffer.byteLength(halves.rest) + blindedBytes <= longestEntry) return halves;
  return cut(fitRecord(record, seq, tightBounds), maskable);
}

/** Takes the maskable values out of a record that is nobody else's. */
function cut(
  record: { -readonly [K in MaskableField]?: string | undefined },
  maskable: readonly MaskableField[],
): Halves {
  let clear = '';
  for (const field of maskable) {
    const value = record[field];
    if (value === undefined) continue;
    clear += `${clear === '' ? '' : ','}"${field}":["${newSalt()}",${JSON.stringify(value)}]`;
    record[field] = undefined;
  }
  return { rest: JSON.stringify(record), clear: `{${clear}}` };
}

/** The JSON of the record that these halves are, with its place in the log and what opens its commitments: as it is sent. */
export function textOfHalves({ rest, clear }: Halves, index: number): string {
  const values = Object.entries(JSON.parse(clear) as ClearValues);
  const shown = values.map(([field, pair]) => `,"${field}":${JSON.stringify(pair![1])}`).join('');
  const salts = values.map(([field, pair]) => `"${field}":"${pair![0]}"`).join();
  return `${rest.slice(0, -1)}${shown},"index":${index},"salts":{${salts}}}`;
}

/** The members of `blinded`, which comes before every other key in canonical order. */
export function commitmentsOf(clear: string): string {
  if (!clear.includes('\\')) return plainCommitments(clear);
  const values = Object.entries(JSON.parse(clear) as ClearValues);
  return values.map(([field, pair]) => `"${field}":"${commitmentOf(pair!)}"`).join(',');
}

/** The same of a line that `splitRecord` wrote and in which nothing is escaped: found by place, which costs a third of parsing it. */
function plainCommitments(clear: string): string {
  let text = '';
  // {"host":["SALT","VALUE"],"path":["SALT","VALUE"]}
  for (let at = 1; at < clear.length - 1; ) {
    const field = clear.indexOf('"', at + 1);
    const salt = field + 4;
    const value = salt + saltLength + 3;
    const end = clear.indexOf('"', value);
    const sum = hash('sha256', clear.slice(salt, salt + saltLength) + clear.slice(value, end), 'base64url');
    text += `${text === '' ? '' : ','}${clear.slice(at, field)}":"${sum}"`;
    at = end + 3;
  }
  return text;
}

/** base64url(SHA-256(salt || value)), both UTF-8. The salt's length is fixed, so there is one way to read the sum. */
export function commitmentOf([salt, value]: readonly [salt: string, value: string]): string {
  return hash('sha256', salt + value, 'base64url');
}

/** The entry that a record was, from the record as it is sent: with its salts and its values. */
export function entryOfRecord(record: DecisionRecord): string {
  const { salts = {}, index: _, ...rest } = record;
  const kept = Object.fromEntries(Object.entries(rest).filter(([field]) => !(field in salts)));
  const clear = Object.fromEntries(
    Object.entries(salts)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([field, salt]) => [field, [salt, String(rest[field as MaskableField])]]),
  );
  const fitted = JSON.stringify(fitRecord(kept as unknown as DecisionRecord, record.seq));
  return `{"blinded":{${commitmentsOf(JSON.stringify(clear))}},${fitted.slice(1)}`;
}

/** The record of an entry and the values beside it; erased values are absent. `undefined` when the entry is not a record's. */
export function recordOfEntry(entry: string, clear: string | undefined, index: number): DecisionRecord | undefined {
  try {
    const { blinded: _, ...rest } = JSON.parse(entry) as DecisionRecord & { blinded: unknown };
    const values = Object.entries(JSON.parse(clear ?? '{}') as ClearValues).filter(([, pair]) => pair !== null);
    const record = { ...rest, ...Object.fromEntries(values.map(([field, pair]) => [field, pair![1]])), index };
    return { ...record, salts: Object.fromEntries(values.map(([field, pair]) => [field, pair![0]])) };
  } catch {
    return undefined;
  }
}

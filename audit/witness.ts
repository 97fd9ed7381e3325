// The witness of every proxy's log: believes no checkpoint that does not continue the one before, and never forgets the newest. What a proxy
// alone could do unseen (cut its tail, rewrite its past, begin anew) shows here as an alarm that stays until a person has looked.
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { existsSync } from 'node:fs';
import type { Clock } from '#base/clock';
import type { Database } from '#base/database';
import { readPrivateFile, writeFileAtomic } from '#base/files';
import type { CheckpointReply, CheckpointRequest, WitnessedLog } from '#wire';
import { fail } from './errors.ts';
import { cosign, verifyCheckpoint } from './merkle/checkpoint.ts';
import { decodeBase64, formatVerifierKey, parseVerifierKey, rawPublicKey } from './merkle/note.ts';
import { isConsistent } from './merkle/tree.ts';

export type AlarmCode =
  | 'AUDIT_LOG_FORKED'
  | 'AUDIT_LOG_ROLLED_BACK'
  | 'AUDIT_LOG_KEY_CHANGED'
  | 'AUDIT_LOG_REPLACED'
  | 'AUDIT_LOG_SILENT';

export interface Alarm {
  readonly instance: string;
  readonly service: string;
  readonly code: AlarmCode;
  readonly reason: string;
}

export interface Witness {
  /** Verifier key of the witness itself. */
  readonly verifierKey: string;
  /** Throws `AUDIT_CHECKPOINT_INVALID`, or an `AUDIT_LOG_*` alarm, which is kept. */
  add(from: { readonly instance: string; readonly service: string }, request: CheckpointRequest): CheckpointReply;
  logs(): readonly WitnessedLog[];
  /** Raises an alarm for logs that have not spoken for `silentMs` though their proxy does. */
  watch(o: { readonly silentMs: number; readonly isAlive: (instance: string) => boolean }): void;
  /** A person has looked: the alarm goes, and a log that could not be continued may begin again. False when there was none. */
  acknowledge(instance: string): boolean;
}

/** The witness's signing key, made (0600) when there is none. */
export function openWitnessKey(path: string): KeyObject {
  if (existsSync(path)) return createPrivateKey(readPrivateFile(path));
  const { privateKey } = generateKeyPairSync('ed25519');
  writeFileAtomic(path, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  return privateKey;
}

export function createWitness(o: {
  readonly database: Database;
  readonly clock: Clock;
  readonly name: () => string;
  readonly key: KeyObject;
  readonly onAlarm: (alarm: Alarm) => void;
}): Witness {
  const { sql } = o.database;
  const select = sql.prepare('SELECT * FROM witnessed WHERE instance = ?');
  const upsert = sql.prepare(
    `INSERT INTO witnessed (instance, service, origin, verifier_key, size, checkpoint, seen) VALUES (?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (instance) DO UPDATE SET service = excluded.service, origin = excluded.origin, verifier_key = excluded.verifier_key,
     size = excluded.size, checkpoint = excluded.checkpoint, seen = excluded.seen,
     alarm = CASE WHEN alarm = 'AUDIT_LOG_SILENT' THEN NULL ELSE alarm END`,
  );
  const setAlarm = sql.prepare('UPDATE witnessed SET alarm = ?, reason = ?, evidence = ? WHERE instance = ?');
  const clear = sql.prepare('DELETE FROM witnessed WHERE instance = ? AND alarm IS NOT NULL');
  const clearSilence = sql.prepare(
    "UPDATE witnessed SET alarm = NULL WHERE instance = ? AND alarm = 'AUDIT_LOG_SILENT'",
  );

  const known = (instance: string): WitnessedLog | undefined => {
    const row = select.get(instance);
    return row && logOf(row);
  };
  /** Tells of each kind of alarm once. */
  const raise = (log: WitnessedLog, code: AlarmCode, o2: { reason: string; evidence?: string }): Error => {
    setAlarm.run(code, o2.reason, o2.evidence ?? null, log.instance);
    const { instance, service } = log;
    if (log.alarm !== code) o.onAlarm({ instance, service, code, reason: o2.reason });
    return fail(code, { instance, reason: o2.reason });
  };

  return {
    get verifierKey() {
      return formatVerifierKey({ name: o.name(), kind: 4, publicKey: rawPublicKey(o.key) });
    },
    add({ instance, service }, { verifierKey, checkpoint: note, from, proof }) {
      const key = parseVerifierKey(verifierKey);
      const found = key && verifyCheckpoint(note, key);
      if (!found) throw fail('AUDIT_CHECKPOINT_INVALID', { instance });
      if (!belongsTo(found.origin, { instance, service })) throw fail('AUDIT_CHECKPOINT_INVALID', { instance });
      const before = known(instance);
      const keep = (): CheckpointReply => {
        const time = Math.floor(o.clock.now() / 1_000);
        const cosignature = cosign(note, { name: o.name(), key: o.key, time });
        const row = [instance, service, found.origin, verifierKey, found.size, note + cosignature, o.clock.now()];
        upsert.run(...row);
        return { outcome: 'cosigned', size: found.size, cosignature };
      };
      if (!before) return keep();
      const evidence = note;
      if (before.verifierKey.split('+').at(-1) !== verifierKey.split('+').at(-1))
        throw raise(before, 'AUDIT_LOG_KEY_CHANGED', { reason: 'its checkpoints are signed by another key', evidence });
      if (before.origin !== found.origin) {
        const reason = `it began anew as ${found.origin}; ${before.size} records of ${before.origin} were witnessed`;
        const reply = keep();
        raise(before, 'AUDIT_LOG_REPLACED', { reason, evidence: before.checkpoint });
        return reply;
      }
      const trusted = verifyCheckpoint(before.checkpoint, key)!;
      if (found.size < trusted.size) {
        const reason = `it has ${found.size} records and had ${trusted.size}`;
        throw raise(before, 'AUDIT_LOG_ROLLED_BACK', { reason, evidence });
      }
      if (found.size > trusted.size && from !== trusted.size) return { outcome: 'behind', size: trusted.size };
      const hashes = found.size === trusted.size ? [] : proof.map((text) => decodeBase64(text) ?? Buffer.alloc(0));
      const range = { from: trusted.size, fromRoot: trusted.root, to: found.size, toRoot: found.root };
      if (!isConsistent({ ...range, proof: hashes })) {
        const reason = `its tree of ${found.size} records does not continue the one of ${trusted.size}`;
        throw raise(before, 'AUDIT_LOG_FORKED', { reason, evidence });
      }
      return keep();
    },
    logs: () => sql.prepare('SELECT * FROM witnessed ORDER BY service, instance').all().map(logOf),
    watch({ silentMs, isAlive }) {
      const oldest = o.clock.now() - silentMs;
      const rows = sql.prepare('SELECT * FROM witnessed WHERE seen < ?').all(oldest).map(logOf);
      for (const log of rows) {
        if (!isAlive(log.instance)) clearSilence.run(log.instance);
        else if (log.alarm === undefined)
          raise(log, 'AUDIT_LOG_SILENT', { reason: 'no checkpoint has come though the proxy is there' });
      }
    },
    acknowledge: (instance) => Number(clear.run(instance).changes) > 0,
  };
}

/** `<trust domain>/<service>/<instance>`, and what follows when a log had to begin anew. */
function belongsTo(origin: string, o: { readonly instance: string; readonly service: string }): boolean {
  const own = `${o.service.replace('spiffe://', '')}/${o.instance}`;
  return origin === own || (origin.startsWith(`${own}/`) && /^[0-9]{1,6}$/.test(origin.slice(own.length + 1)));
}

function logOf(row: Readonly<Record<string, unknown>>): WitnessedLog {
  const { instance, service, origin, verifier_key, size, checkpoint, seen, alarm, reason } = row;
  return {
    ...{ instance: String(instance), service: String(service), origin: String(origin) },
    ...{ verifierKey: String(verifier_key), size: Number(size), checkpoint: String(checkpoint), seenAt: Number(seen) },
    ...(alarm === null ? {} : { alarm: String(alarm), reason: String(reason) }),
  };
}

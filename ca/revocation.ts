// Who may not be served any more? Bans of an identity, or of one certificate and what it was renewed into; what is asked on every connection
// is answered from memory.
import type { Database } from '#base/database';
import { parseSpiffeId, type SpiffeId } from '#spiffe';
import type { Ban } from '#wire';
import { fail } from './errors.ts';

/** Exactly one of `id` and `serial`. */
export interface BanTarget {
  readonly id?: SpiffeId | string | undefined;
  readonly serial?: string | undefined;
}

export interface BanList {
  /** Durable on return, with the certificates that one was renewed into: how many those are. Banning twice changes nothing. */
  ban(o: BanTarget & { readonly by: string; readonly at: number; readonly reason?: string | undefined }): number;
  /** Lifts also what was banned with it. False when there was no such ban. */
  unban(o: BanTarget): boolean;
  /** Newest first. */
  all(): readonly Ban[];
  isBanned(svid: { readonly id: SpiffeId | string; readonly serial: string }): boolean;
}

export interface BanListOptions {
  readonly database: Database;
  /** The certificates that live at `now` and that a ban of this one must reach too. */
  readonly renewalsOf: (serial: string, now: number) => readonly string[];
}

export function createBanList({ database, renewalsOf }: BanListOptions): BanList {
  const { sql } = database;
  const banned = new Set<string>();
  for (const { kind, value } of sql.prepare('SELECT kind, value FROM ban').all()) banned.add(`${kind}:${value}`);
  const insert = sql.prepare('INSERT INTO ban VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING');
  const find = sql.prepare('SELECT made_at FROM ban WHERE kind = ? AND value = ?');
  const remove = sql.prepare('DELETE FROM ban WHERE kind = ? AND value = ? AND made_at = ?');
  const all = sql.prepare('SELECT * FROM ban ORDER BY made_at DESC, rowid DESC');
  return {
    ban(o) {
      const { kind, value } = targetOf(o);
      const renewals = kind === 'serial' ? renewalsOf(value, o.at) : [];
      database.transaction(() => {
        for (const one of [value, ...renewals]) insert.run(kind, one, o.by, o.at, o.reason ?? null);
      });
      for (const one of [value, ...renewals]) banned.add(`${kind}:${one}`);
      return renewals.length;
    },
    unban(o) {
      const { kind, value } = targetOf(o);
      const ban = find.get(kind, value);
      if (!ban) return false;
      const together = kind === 'serial' ? renewalsOf(value, 0) : [];
      const lifted = database.transaction(() =>
        [value, ...together].filter((one) => remove.run(kind, one, ban.made_at!).changes === 1),
      );
      for (const one of lifted) banned.delete(`${kind}:${one}`);
      return true;
    },
    all: () =>
      all.all().map((row) => ({
        ...(row.kind === 'id' ? { id: String(row.value) } : { serial: String(row.value) }),
        by: String(row.made_by),
        at: Number(row.made_at),
        ...(row.reason !== null && { reason: String(row.reason) }),
      })),
    isBanned: ({ id, serial }) => banned.has(`id:${String(id)}`) || banned.has(`serial:${serial}`),
  };
}

/** The words for a ban's target, for events. */
export function describeTarget(o: BanTarget): string {
  return targetOf(o).value;
}

function targetOf({ id, serial }: BanTarget): { kind: 'id' | 'serial'; value: string } {
  if ((id === undefined) === (serial === undefined))
    throw fail('BAN_INVALID', { reason: id === undefined ? 'nothing' : 'both an identity and a serial' });
  if (id !== undefined) {
    const uri = parseSpiffeId(String(id)).uri;
    return { kind: 'id', value: uri };
  }
  if (!/^[0-9a-f]{2,64}$/.test(serial!)) throw fail('BAN_INVALID', { reason: 'a serial that is not lower-case hex' });
  return { kind: 'serial', value: serial! };
}

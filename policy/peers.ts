// Which of a set's sources (identities, prefixes, groups, anyone) hold a given ID: a few numbers instead of ten thousand comparisons.
// Answers are kept for the IDs seen last, in bounded memory: peers choose their own IDs only within what the CA issues.
import type { PolicySet } from '#wire';
import { basesOf, isPeerId } from './source.ts';

/** What one ID is to one set. */
export interface Peer {
  readonly tokens: readonly number[];
  readonly holds: ReadonlySet<number>;
}

export interface Peers {
  /** The number of a source text as rules write it; made when new. Only while the set is being compiled. */
  tokenOf(source: string): number;
  /** `undefined` for what cannot be a peer's ID. */
  peerOf(id: string): Peer | undefined;
}

const mostKept = 8_192;

export function createPeers(set: PolicySet): Peers {
  const tokens = new Map<string, number>();
  /** Tokens by exact ID, by the base of a prefix (`BASE/**`), and by `*`, all in one map: their texts cannot be equal. */
  const held = new Map<string, number[]>();
  const groups = new Map(Object.entries(set.groups));
  const kept = new Map<string, Peer>();
  const hold = (source: string, token: number): void => {
    const list = held.get(source);
    if (list) list.push(token);
    else held.set(source, [token]);
  };
  return {
    tokenOf(source) {
      const known = tokens.get(source);
      if (known !== undefined) return known;
      const token = tokens.size;
      tokens.set(source, token);
      if (!source.startsWith('group:')) hold(source, token);
      else for (const member of new Set(groups.get(source.slice(6)))) hold(member, token);
      return token;
    },
    peerOf(id) {
      const before = kept.get(id);
      if (before) return before;
      if (!isPeerId(id)) return undefined;
      const holds = new Set(held.get('*'));
      for (const token of held.get(id) ?? []) holds.add(token);
      for (const base of basesOf(id)) for (const token of held.get(`${base}/**`) ?? []) holds.add(token);
      const peer = { tokens: [...holds], holds };
      if (kept.size >= mostKept) kept.clear();
      kept.set(id, peer);
      return peer;
    },
  };
}

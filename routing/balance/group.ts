// All the endpoints of a cluster or of one of its subsets, by how near they are: the own zone, the zones to fail over to, the others.
// Envoy's priority levels: while enough of a level is healthy it gets everything, else the next ones get the difference.
import { mix } from './hash.ts';
import { type Asking, Level } from './level.ts';
import type { Member } from './member.ts';
import type { BalanceSettings } from './settings.ts';

export interface GroupOptions {
  readonly settings: BalanceSettings;
  /** Of this proxy. */
  readonly zone: string | undefined;
  readonly random: () => number;
  readonly members: readonly Member[];
}

export class Group {
  /** Of the standings that it was prepared for. */
  version = -1;
  isPanic = false;
  readonly #levels: readonly Level[];
  /** Of each level, the share of what is sent, added up. */
  readonly #shares: Float64Array;
  readonly #settings: BalanceSettings;
  readonly #random: () => number;

  constructor(o: GroupOptions) {
    this.#settings = o.settings;
    this.#random = o.random;
    this.#levels = levelsOf(o).map((members) => new Level({ ...o, members }));
    this.#shares = new Float64Array(this.#levels.length);
  }

  prepare(now: number): void {
    const levels = this.#levels;
    for (const level of levels) level.count();
    const minHealthy = this.#settings.zones?.minHealthy ?? 1;
    const health = levels.map((level) => (level.healthy === 0 ? 0 : Math.min(1, level.healthyShare / minHealthy)));
    const total = Math.min(
      1,
      health.reduce((sum, one) => sum + one, 0),
    );
    const members = levels.reduce((sum, level) => sum + level.members.length, 0);
    let given = 0;
    levels.forEach((level, place) => {
      level.prepare(now, total < 1);
      given += total > 0 ? health[place]! / total : level.members.length / members;
      this.#shares[place] = Math.min(1, given);
    });
    this.isPanic = levels.some(({ isPanic }) => isPanic);
  }

  pick(asking: Asking): Member | undefined {
    const levels = this.#levels;
    let place = 0;
    if (levels.length > 1 && this.#shares[0]! < 1) {
      // A key stays on its level as long as the shares do.
      const at = asking.hash === undefined ? this.#random() : mix(~asking.hash) / 4_294_967_296;
      while (place < levels.length - 1 && at >= this.#shares[place]!) place++;
    }
    return levels[place]?.pick(asking) ?? this.#pickElsewhere(asking, place);
  }

  /** The level whose turn it was has none left. */
  #pickElsewhere(asking: Asking, spent: number): Member | undefined {
    for (const [place, level] of this.#levels.entries()) {
      const member = place === spent ? undefined : level.pick(asking);
      if (member) return member;
    }
    for (const level of this.#levels) {
      const member = level.pickAside(asking);
      if (member) return member;
    }
    return undefined;
  }
}

/** The nearest first; none is empty. */
function levelsOf({ settings: { zones }, zone: own, members }: GroupOptions): readonly (readonly Member[])[] {
  const open = members.filter(({ weight }) => weight > 0);
  if (!zones) return open.length > 0 ? [open] : [];
  const order = [...new Set([...(zones.prefer && own !== undefined ? [own] : []), ...zones.failover])];
  const levels: Member[][] = Array.from({ length: order.length + 1 }, () => []);
  for (const member of open) {
    const place = member.endpoint.zone === undefined ? -1 : order.indexOf(member.endpoint.zone);
    levels[place === -1 ? order.length : place]!.push(member);
  }
  return levels.filter((level) => level.length > 0);
}

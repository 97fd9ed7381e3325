// The endpoints of a group that are equally near, and which of them gets a request: the healthy ones, or also others when too few are.
// Arrays and tables are made when members change, not while a request waits.
import type { Sought } from './hash.ts';
import { Maglev } from './maglev.ts';
import { type Member, standings } from './member.ts';
import { type Choose, preparePolicy } from './policies.ts';
import { Ring } from './ring.ts';
import type { BalanceSettings } from './settings.ts';

export interface Asking {
  readonly hash: number | undefined;
  /** Addresses. */
  readonly tried: ReadonlySet<string>;
  readonly now: number;
}

/** Masks of the standings with which a member may be chosen. */
const masks = {
  healthy: 1 << standings.healthy,
  /** In a panic suspicions are not believed; that nobody listens there is. */
  notAside: (1 << standings.healthy) | (1 << standings.suspected),
  notSuspected: (1 << standings.healthy) | (1 << standings.aside),
  all: (1 << standings.healthy) | (1 << standings.suspected) | (1 << standings.aside) | (1 << standings.suspectedAside),
} as const;

/** How often the policy may give one that cannot be used before the list is looked through. */
const draws = 8;

export class Level {
  readonly members: readonly Member[];
  /** How many of them are healthy. */
  healthy = 0;
  /** Suspected members are used because too few are not. */
  isPanic = false;
  readonly #settings: BalanceSettings;
  readonly #random: () => number;
  #mask: number = masks.healthy;
  /** Those that had a standing of the mask when the level was prepared. */
  #chosen: readonly Member[] = [];
  #choose: Choose | undefined;
  /** Of all members; made when the first key is looked for. */
  #table: Ring | Maglev | undefined;

  constructor(o: { members: readonly Member[]; settings: BalanceSettings; random: () => number }) {
    this.members = o.members;
    this.#settings = o.settings;
    this.#random = o.random;
  }

  get healthyShare(): number {
    return this.healthy / this.members.length;
  }

  count(): void {
    this.healthy = 0;
    for (const { standing } of this.members) if (standing === standings.healthy) this.healthy++;
  }

  /** After `count`; `mayPanic` when the levels together have too few healthy members. */
  prepare(now: number, mayPanic: boolean): void {
    const { healthy } = this;
    const { panicThreshold } = this.#settings;
    this.isPanic = false;
    if (mayPanic && panicThreshold > 0 && (healthy === 0 || this.healthyShare < panicThreshold)) {
      this.#take(masks.notAside);
      this.isPanic = this.#chosen.length > healthy;
      if (this.#chosen.length === 0) this.#take(masks.all);
    } else this.#take(healthy > 0 ? masks.healthy : masks.notSuspected);
    this.#choose =
      this.#chosen.length === 0
        ? undefined
        : preparePolicy({ members: this.#chosen, settings: this.#settings, random: this.#random, now });
  }

  pick(asking: Asking): Member | undefined {
    const { hash, tried, now } = asking;
    if (!this.#choose) return undefined;
    // A retry in a panic goes where nothing speaks against it, if there is such a place.
    const isChoosy = tried.size > 0 && this.isPanic && this.healthy > 0;
    if (hash !== undefined && this.#hasTable) {
      const found = isChoosy ? this.#find({ hash, tried, mask: masks.healthy }) : undefined;
      return found ?? this.#find({ hash, tried, mask: this.#mask });
    }
    const mask = isChoosy ? masks.healthy : this.#mask;
    for (let count = 0; count < draws; count++) {
      const member = this.#choose(now);
      if (member.mayServe(mask, tried)) return member;
    }
    return this.#among(asking, mask) ?? this.#among(asking, this.#mask);
  }

  /** When no level has one left: one that was only put aside. */
  pickAside(asking: Asking): Member | undefined {
    return this.#among(asking, 1 << standings.aside);
  }

  #take(mask: number): void {
    this.#mask = mask;
    this.#chosen = this.members.filter((member) => mask & (1 << member.standing));
  }

  get #hasTable(): boolean {
    const { policy } = this.#settings;
    return policy === 'ring-hash' || policy === 'maglev';
  }

  #find(sought: Sought): Member | undefined {
    this.#table ??= this.#settings.policy === 'maglev' ? new Maglev(this.members) : new Ring(this.members);
    return this.#table.find(sought);
  }

  /** Looks through all members for this one pick: one by weight, whatever the policy. */
  #among({ tried }: Asking, mask: number): Member | undefined {
    let found: Member | undefined;
    let weights = 0;
    for (const member of this.members) {
      if (!member.mayServe(mask, tried)) continue;
      weights += member.weight;
      if (this.#random() * weights < member.weight) found = member;
    }
    return found;
  }
}

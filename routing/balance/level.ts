// The endpoints of a subset that are equally near, and which of them gets a request. Arrays and tables are made when members change, not
// while a request waits.
import { Draw } from './draw.ts';
import { type Member, standings } from './member.ts';
import type { BalanceSettings } from './settings.ts';
import { Turns } from './turns.ts';

/** Masks of the standings with which a member may be chosen. */
const masks = {
  healthy: 1 << standings.healthy,
  /** In a panic suspicions are not believed; that nobody listens there is. */
  notAside: (1 << standings.healthy) | (1 << standings.suspected),
  notSuspected: (1 << standings.healthy) | (1 << standings.aside),
  all: (1 << standings.healthy) | (1 << standings.suspected) | (1 << standings.aside) | (1 << standings.suspectedAside),
} as const;

export interface Asking {
  readonly hash: number | undefined;
  readonly tried: ReadonlySet<string>;
  readonly now: number;
}

/** How often a drawn member may be one that was tried or still warms up before the list is looked through. */
const draws = 8;

export class Level {
  /** How many of its members are healthy. */
  healthy = 0;
  /** Suspected members are used because too few are not. */
  isPanic = false;
  readonly members: readonly Member[];
  readonly #settings: BalanceSettings;
  readonly #random: () => number;
  /** Those that may be chosen. */
  #chosen: readonly Member[] = [];
  #next: (now: number) => Member = () => this.#chosen[0]!;
  #mask: number = masks.healthy;
  #cursor: number;

  constructor(o: { members: readonly Member[]; settings: BalanceSettings; random: () => number }) {
    this.members = o.members;
    this.#settings = o.settings;
    this.#random = o.random;
    this.#cursor = Math.floor(o.random() * o.members.length);
  }

  get healthyShare(): number {
    return this.healthy / this.members.length;
  }

  count(): void {
    this.healthy = 0;
    for (const { standing } of this.members) if (standing === standings.healthy) this.healthy++;
  }

  /** Standings or weights have changed; `mayPanic` when the levels together have too few healthy members. */
  prepare(now: number, mayPanic: boolean): void {
    const { panicThreshold } = this.#settings;
    const { healthy } = this;
    this.isPanic = false;
    this.#take(masks.healthy);
    if (mayPanic && panicThreshold > 0 && (healthy === 0 || this.healthyShare < panicThreshold)) {
      this.#take(masks.notAside);
      this.isPanic = this.#chosen.length > healthy;
      if (this.#chosen.length === 0) this.#take(masks.all);
    } else if (healthy === 0) this.#take(masks.notSuspected);
    this.#next = this.#prepared(now);
  }

  choose(asking: Asking): Member | undefined {
    const chosen = this.#chosen;
    if (chosen.length === 0) return undefined;
    const { tried, now } = asking;
    if (tried.size === 0) return chosen.length === 1 ? chosen[0] : this.#next(now);
    // A retry in a panic goes where nothing speaks against it, if there is such a place.
    if (this.#mask !== masks.healthy && this.healthy > 0) {
      const healthy = chosen.filter((member) => member.standing === standings.healthy && !tried.has(member.address));
      if (healthy.length > 0) return this.#among(healthy, now);
    }
    for (let count = 0; count < draws; count++) {
      const member = this.#next(now);
      if (!tried.has(member.address)) return member;
    }
    return this.#among(
      chosen.filter((member) => !tried.has(member.address)),
      now,
    );
  }

  /** When no member of any level is left that is to be chosen: one that was only put aside. */
  chooseAside({ tried, now }: Asking): Member | undefined {
    return this.#among(
      this.members.filter((member) => member.standing === standings.aside && !tried.has(member.address)),
      now,
    );
  }

  #take(mask: number): void {
    this.#mask = mask;
    this.#chosen = this.members.filter((member) => mask & (1 << member.standing));
  }

  #prepared(now: number): (now: number) => Member {
    const chosen = this.#chosen;
    const { policy, slowStartMs } = this.#settings;
    const random = this.#random;
    const count = chosen.length;
    if (count < 2) return () => chosen[0]!;
    const isEven = chosen.every(({ weight }) => weight === chosen[0]!.weight);
    const isWarm = chosen.every((member) => member.warmth(now, slowStartMs) === 1);
    const turns = (weightOf: (member: Member) => number) => {
      let at = now;
      const order = new Turns({
        count,
        random,
        weightOf: (place) => weightOf(chosen[place]!) * chosen[place]!.warmth(at, slowStartMs),
      });
      return (when: number): Member => {
        at = when;
        return chosen[order.next()]!;
      };
    };
    const draw = (): ((when: number) => Member) => {
      const drawn = isEven
        ? undefined
        : new Draw(
            chosen.map(({ weight }) => weight),
            random,
          );
      const one = (): Member => chosen[drawn ? drawn.next() : Math.floor(random() * count)]!;
      if (isWarm) return one;
      return (when) => {
        let member = one();
        for (let again = 1; again < draws && random() >= member.warmth(when, slowStartMs); again++) member = one();
        return member;
      };
    };
    switch (policy) {
      case 'least-request':
        if (!isEven || !isWarm) return turns(({ weight, active }) => weight / (active + 1));
        return () => {
          const one = Math.floor(random() * count);
          const other = (one + 1 + Math.floor(random() * (count - 1))) % count;
          return chosen[other]!.active < chosen[one]!.active ? chosen[other]! : chosen[one]!;
        };
      case 'round-robin':
        if (!isEven || !isWarm) return turns(({ weight }) => weight);
        return () => {
          if (++this.#cursor >= count) this.#cursor = 0;
          return chosen[this.#cursor]!;
        };
      case 'ewma': {
        const drawn = draw();
        return (when) => {
          const one = drawn(when);
          let other = drawn(when);
          for (let again = 1; again < draws && other === one; again++) other = drawn(when);
          return other.cost(when) < one.cost(when) ? other : one;
        };
      }
      default:
        return draw();
    }
  }

  /** Of a list made for one retry: without turns and tables. */
  #among(members: readonly Member[], now: number): Member | undefined {
    const count = members.length;
    if (count < 2) return members[0];
    const one = members[Math.floor(this.#random() * count)]!;
    const other = members[Math.floor(this.#random() * count)]!;
    if (this.#settings.policy === 'ewma') return other.cost(now) < one.cost(now) ? other : one;
    return other.active / other.weight < one.active / one.weight ? other : one;
  }
}

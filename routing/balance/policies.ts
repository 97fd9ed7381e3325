// The policies by which one of several equally near endpoints is chosen. Each is prepared for the members that may be chosen, and then
// gives one a call without looking at all of them.
import { Draw } from './draw.ts';
import type { Member } from './member.ts';
import type { BalanceSettings } from './settings.ts';
import { Turns } from './turns.ts';

export interface PolicyOptions {
  /** At least one; each has a weight. */
  readonly members: readonly Member[];
  readonly settings: Pick<BalanceSettings, 'policy' | 'slowStartMs'>;
  readonly random: () => number;
  readonly now: number;
}

/** Takes the time of the call. */
export type Choose = (now: number) => Member;

/** How often a drawn member may be refused before it is taken all the same. */
const draws = 8;

export function preparePolicy(o: PolicyOptions): Choose {
  const { members, settings, now } = o;
  const only = members[0]!;
  if (members.length === 1) return () => only;
  const isEven =
    members.every(({ weight }) => weight === only.weight) &&
    members.every((member) => member.warmth(now, settings.slowStartMs) === 1);
  switch (settings.policy) {
    case 'least-request':
      return isEven ? lessBusyOfTwo(o) : inTurns(o, ({ weight, active }) => weight / (active + 1));
    case 'round-robin':
      return isEven ? oneAfterTheOther(o) : inTurns(o, ({ weight }) => weight);
    case 'ewma':
      return cheaperOfTwo(o);
    // Those that hash have nothing to hash when they come here.
    case 'random':
    case 'ring-hash':
    case 'maglev':
      return drawn(o);
  }
}

function lessBusyOfTwo({ members, random }: PolicyOptions): Choose {
  const count = members.length;
  return () => {
    const first = Math.floor(random() * count);
    const second = (first + 1 + Math.floor(random() * (count - 1))) % count;
    const [one, other] = [members[first]!, members[second]!];
    return other.active < one.active ? other : one;
  };
}

function oneAfterTheOther({ members, random }: PolicyOptions): Choose {
  let at = Math.floor(random() * members.length);
  return () => {
    at = at + 1 < members.length ? at + 1 : 0;
    return members[at]!;
  };
}

/** With a weight of the moment, which grows while a member warms up. */
function inTurns(o: PolicyOptions, weightOf: (member: Member) => number): Choose {
  const { members, random } = o;
  const { slowStartMs } = o.settings;
  let { now } = o;
  const turns = new Turns({
    count: members.length,
    random,
    weightOf: (place) => weightOf(members[place]!) * members[place]!.warmth(now, slowStartMs),
  });
  return (when) => {
    now = when;
    return members[turns.next()]!;
  };
}

/** Peak EWMA: the latency that a request would see, of two drawn ones. Draws follow weights, so that costs need not. */
function cheaperOfTwo(o: PolicyOptions): Choose {
  const draw = drawn(o);
  return (now) => {
    const one = draw(now);
    let other = draw(now);
    for (let again = 1; again < draws && other === one; again++) other = draw(now);
    return other.cost(now) < one.cost(now) ? other : one;
  };
}

function drawn({ members, random, settings: { slowStartMs }, now }: PolicyOptions): Choose {
  const count = members.length;
  const isEven = members.every(({ weight }) => weight === members[0]!.weight);
  const weighted = isEven ? undefined : new Draw({ weights: members.map(({ weight }) => weight), random });
  const draw = (): Member => members[weighted ? weighted.next() : Math.floor(random() * count)]!;
  if (members.every((member) => member.warmth(now, slowStartMs) === 1)) return draw;
  // One that warms up is refused as often as it is cold.
  return (when) => {
    let member = draw();
    for (let again = 1; again < draws && random() >= member.warmth(when, slowStartMs); again++) member = draw();
    return member;
  };
}

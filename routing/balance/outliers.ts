// Which endpoints are left out for what became of requests to them, and for how long: those that cannot be connected to for a moment,
// always; those that fail or stand out, when outlier detection is declared.
import type { Outcome } from '../action.ts';
import type { Member } from './member.ts';
import type { OutlierBounds } from './settings.ts';

/** Without anything declared: after a failure to connect, doubled with each next one. */
const firstAsideMs = 250;
const longestAsideMs = 15_000;

export interface OutliersOptions {
  readonly monotonic: () => number;
  readonly members: () => ReadonlyMap<string, Member>;
  /** The member is left out from now on, or no longer. */
  readonly onChange: (member: Member, now: number) => void;
}

export class Outliers {
  #bounds: OutlierBounds | undefined;
  #lookAt = 0;
  /** How many are ejected, and until when that is so unless one more is. */
  #ejected = 0;
  #countedUntil = 0;
  readonly #o: OutliersOptions;

  constructor(o: OutliersOptions) {
    this.#o = o;
  }

  /** Members may have changed too. */
  update(bounds: OutlierBounds | undefined): void {
    const now = this.#o.monotonic();
    if (bounds && (!this.#bounds || this.#lookAt > now + bounds.intervalMs)) this.#lookAt = now + bounds.intervalMs;
    this.#bounds = bounds;
    this.#countedUntil = 0;
  }

  /** Not of refusals: they say nothing. */
  heard(member: Member, outcome: Outcome, now: number): void {
    const { kind } = outcome;
    if (kind === 'connect-failed') this.#putAside(member, now);
    else if (kind === 'answered') this.#connected(member, now);
    const bounds = this.#bounds;
    // What was on its way when it was ejected says nothing of how it will be when it is back.
    if (!bounds || member.ejectedUntil > now) return;
    const status = statusOf(outcome);
    member.serverErrors = status >= 500 ? member.serverErrors + 1 : 0;
    member.gatewayErrors = status >= 502 && status <= 504 ? member.gatewayErrors + 1 : 0;
    member.answered++;
    if (status < 500) member.succeeded++;
    if (bounds.consecutiveGatewayErrors > 0 && member.gatewayErrors >= bounds.consecutiveGatewayErrors)
      this.#eject(member, now, `${member.gatewayErrors} gateway errors in a row`);
    else if (bounds.consecutive5xx > 0 && member.serverErrors >= bounds.consecutive5xx)
      this.#eject(member, now, `${member.serverErrors} server errors in a row`);
    if (now >= this.#lookAt) this.#look(now, bounds);
  }

  #putAside(member: Member, now: number): void {
    // Others that were on their way say nothing new.
    if (member.asideUntil > now) return;
    const ms = Math.min(longestAsideMs, firstAsideMs * 2 ** Math.min(member.connectFailures++, 16));
    member.asideUntil = now + ms;
    this.#o.onChange(member, now);
  }

  #connected(member: Member, now: number): void {
    member.connectFailures = 0;
    if (member.asideUntil <= now) return;
    member.asideUntil = 0;
    this.#o.onChange(member, now);
  }

  #eject(member: Member, now: number, why: string): void {
    const bounds = this.#bounds!;
    const most = Math.max(1, Math.floor(bounds.maxEjected * this.#o.members().size));
    if (this.#ejectedAt(now) >= most) return;
    // Every interval that it was back for makes it shorter again.
    const calm = Math.floor((now - member.ejectedUntil) / bounds.intervalMs);
    member.ejections = Math.max(0, member.ejections - calm) + 1;
    member.ejectedUntil = now + Math.min(bounds.maxEjectionMs, bounds.baseEjectionMs * member.ejections);
    this.#ejected++;
    this.#countedUntil = Math.min(this.#countedUntil, member.ejectedUntil);
    member.ejectedWhy = why;
    member.serverErrors = 0;
    member.gatewayErrors = 0;
    this.#o.onChange(member, now);
  }

  #ejectedAt(now: number): number {
    if (now < this.#countedUntil) return this.#ejected;
    this.#ejected = 0;
    this.#countedUntil = Number.POSITIVE_INFINITY;
    for (const { ejectedUntil } of this.#o.members().values()) {
      if (ejectedUntil <= now) continue;
      this.#ejected++;
      this.#countedUntil = Math.min(this.#countedUntil, ejectedUntil);
    }
    return this.#ejected;
  }

  /** Once an interval: success rates beside each other. */
  #look(now: number, bounds: OutlierBounds): void {
    this.#lookAt = now + bounds.intervalMs;
    const { successRate } = bounds;
    if (!successRate) return;
    const rated: Member[] = [];
    for (const member of this.#o.members().values())
      if (member.ejectedUntil <= now && member.answered >= successRate.minRequests) rated.push(member);
    if (rated.length >= successRate.minEndpoints) {
      const mean = rated.reduce((sum, member) => sum + rateOf(member), 0) / rated.length;
      const variance = rated.reduce((sum, member) => sum + (rateOf(member) - mean) ** 2, 0) / rated.length;
      const least = mean - successRate.stdevFactor * Math.sqrt(variance);
      for (const member of rated)
        if (rateOf(member) < least)
          this.#eject(member, now, `success rate ${percent(rateOf(member))} beside ${percent(mean)} of all`);
    }
    for (const member of this.#o.members().values()) {
      member.answered = 0;
      member.succeeded = 0;
    }
  }
}

/** As a status: what came of no answer is a gateway error, and a gRPC status is read as Envoy reads it. */
export function statusOf(outcome: Outcome): number {
  if (outcome.kind !== 'answered') return outcome.kind === 'timeout' ? 504 : 503;
  const { status, grpcStatus } = outcome;
  return grpcStatus === undefined ? status : (grpcFailures[grpcStatus] ?? status);
}

const grpcFailures: Readonly<Record<number, number>> = { 2: 500, 4: 504, 12: 501, 13: 500, 14: 503, 15: 500 };

function rateOf({ succeeded, answered }: Member): number {
  return succeeded / answered;
}

function percent(share: number): string {
  return `${Math.round(share * 1_000) / 10}%`;
}

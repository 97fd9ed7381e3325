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
  readonly #o: OutliersOptions;

  constructor(o: OutliersOptions) {
    this.#o = o;
  }

  set bounds(bounds: OutlierBounds | undefined) {
    this.#bounds = bounds;
    this.#lookAt = bounds ? this.#o.monotonic() + bounds.intervalMs : 0;
  }

  heard(member: Member, outcome: Outcome, now: number): void {
    const { kind } = outcome;
    if (kind === 'refused') return;
    if (kind === 'connect-failed') this.#putAside(member, now);
    else if (kind === 'answered') this.#connected(member, now);
    const bounds = this.#bounds;
    if (!bounds) return;
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
    if (member.ejectedUntil > now) return;
    const members = this.#o.members();
    let ejected = 0;
    for (const other of members.values()) if (other.ejectedUntil > now) ejected++;
    if (ejected >= Math.max(1, Math.floor(bounds.maxEjected * members.size))) return;
    member.ejections++;
    member.ejectedUntil = now + Math.min(bounds.maxEjectionMs, bounds.baseEjectionMs * member.ejections);
    member.ejectedWhy = why;
    member.serverErrors = 0;
    member.gatewayErrors = 0;
    this.#o.onChange(member, now);
  }

  /** Once an interval: success rates against each other, and each good interval makes the next ejection shorter. */
  #look(now: number, bounds: OutlierBounds): void {
    const intervals = 1 + Math.floor((now - this.#lookAt) / bounds.intervalMs);
    this.#lookAt += intervals * bounds.intervalMs;
    const { successRate } = bounds;
    const rated: Member[] = [];
    for (const member of this.#o.members().values()) {
      if (member.ejectedUntil <= now && member.ejections > 0)
        member.ejections = Math.max(0, member.ejections - intervals);
      if (successRate && member.ejectedUntil <= now && member.answered >= successRate.minRequests) rated.push(member);
    }
    if (successRate && rated.length >= successRate.minEndpoints) {
      const rateOf = ({ succeeded, answered }: Member): number => succeeded / answered;
      const mean = rated.reduce((sum, member) => sum + rateOf(member), 0) / rated.length;
      const variance = rated.reduce((sum, member) => sum + (rateOf(member) - mean) ** 2, 0) / rated.length;
      const least = mean - successRate.stdevFactor * Math.sqrt(variance);
      for (const member of rated)
        if (rateOf(member) < least)
          this.#eject(member, now, `success rate ${percent(rateOf(member))} beside ${percent(mean)}`);
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

function percent(share: number): string {
  return `${Math.round(share * 1_000) / 10}%`;
}

// The health checks of one data plane: what they share, and what is told of them. Of several threads one asks, and tells the others what it has found.
import type { Clock } from '#base/clock';
import type { Log } from '#base/log';
import type { Metrics } from '#base/metrics';
import { type Checker, type CheckerOptions, createChecker } from './checker.ts';
import type { OpenPool } from './probe.ts';
import { createTurnstile } from './turnstile.ts';

/** Why endpoints are unhealthy, by cluster and address; plain, since it crosses to other threads. */
export type Failing = Readonly<Record<string, Readonly<Record<string, string>>>>;

export interface HealthChecks {
  createChecker(cluster: string, onChange: CheckerOptions['onChange']): Checker;
  readonly onHealth: (o: {
    readonly cluster: string;
    readonly address: string;
    readonly reason: string | undefined;
  }) => void;
  readonly failing: Failing;
  /** What the thread that asks has found: all of it, each time. */
  tell(failing: Failing): void;
}

export interface HealthChecksOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly random: () => number;
  readonly openPool: OpenPool;
  /** Another thread asks: this one hears of it. */
  readonly isTold: boolean;
  /** `failing` has changed. */
  readonly onFailing: () => void;
}

/** Checks at a time, of all clusters together. */
const mostChecks = 64;

export function createHealthChecks(o: HealthChecksOptions): HealthChecks {
  const { clock, log, random, openPool } = o;
  const turnstile = createTurnstile(mostChecks);
  const answers = o.metrics.counter({
    name: 'postern_health_checks_total',
    help: 'Health checks made by this proxy, by how they ended.',
    labels: ['outcome'],
  });
  const onAnswer = (reason: string | undefined): void => {
    answers(reason === undefined ? 'healthy' : 'failed').value++;
  };
  const found = new Map<string, Map<string, string>>();
  let told: Failing = {};
  const hearers = new Map<string, CheckerOptions['onChange']>();

  const asking = (cluster: string, onChange: CheckerOptions['onChange']): Checker => {
    const own = new Map<string, string>();
    const checker = createChecker({
      ...{ clock, random, openPool, turnstile, onAnswer },
      onChange(change) {
        if (change.reason === undefined) own.delete(change.address);
        else own.set(change.address, change.reason);
        onChange(change);
        o.onFailing();
      },
    });
    found.set(cluster, own);
    return {
      isHealthy: checker.isHealthy,
      use(next) {
        checker.use(next);
        for (const address of own.keys()) if (checker.isHealthy(address) !== false) own.delete(address);
        o.onFailing();
      },
      close() {
        checker.close();
        if (found.get(cluster) === own) found.delete(cluster);
        o.onFailing();
      },
    };
  };
  const hearing = (cluster: string, onChange: CheckerOptions['onChange']): Checker => {
    hearers.set(cluster, onChange);
    return {
      isHealthy: (address) => told[cluster]?.[address] === undefined,
      use: () => undefined,
      close() {
        if (hearers.get(cluster) === onChange) hearers.delete(cluster);
      },
    };
  };

  return {
    createChecker: o.isTold ? hearing : asking,
    onHealth({ cluster, address, reason }) {
      if (o.isTold) return;
      if (reason === undefined) log.info('an endpoint is healthy again', { cluster, address });
      else log.warn('an endpoint is not healthy', { cluster, address, reason });
    },
    get failing() {
      return Object.fromEntries([...found].map(([cluster, own]) => [cluster, Object.fromEntries(own)]));
    },
    tell(next) {
      const before = told;
      told = next;
      for (const [cluster, onChange] of hearers) {
        const [old, now] = [before[cluster] ?? {}, next[cluster] ?? {}];
        for (const address of new Set([...Object.keys(old), ...Object.keys(now)]))
          if ((old[address] === undefined) !== (now[address] === undefined))
            onChange({ address, reason: now[address] });
      }
    },
  };
}

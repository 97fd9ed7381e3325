// Which configuration is in force: each snapshot is checked, applied as a whole or refused as a whole, and kept on disk when told so.
// A refused one leaves the policy as it is, but its bans and roots do not wait for a better policy; an older one never replaces a newer (Z2).
import { messageOf, type Problem } from '#base/error';
import type { Log } from '#base/log';
import type { Metrics } from '#base/metrics';
import { check, isValid } from '#base/schema';
import { parseBundle, type SpiffeId, type TrustBundle } from '#spiffe';
import { type Snapshot, snapshotChange, snapshotSchema, type UrgentPart, urgentSchema } from '#wire';
import { applyChange } from './change.ts';
import type { SidecarFolder } from './disk.ts';
import { fail } from './errors.ts';
import type { LargeSnapshots } from './large-snapshot.ts';

export interface Refusal {
  readonly revision: number;
  readonly reason: string;
}

export interface Snapshots {
  /** The revision in force; 0 while there is none and everything is denied. */
  readonly revision: number;
  readonly current: Snapshot | undefined;
  /** The revision whose bans are in force: above `revision` while the rest of that one is refused. */
  readonly newest: number;
  /** The newest refused one, until something newer is applied. */
  readonly refused: Refusal | undefined;
  /** Applies the one on disk, when there is a usable one. */
  restore(): void;
  /**
   * Takes a pushed snapshot, of any shape; true when it is in force on return. What takes longer is told by `onSettled`. `problems`: what is wrong with it,
   * when that has been looked for already. Never throws.
   */
  take(value: unknown, problems?: readonly Problem[]): boolean;
  /**
   * Takes what has changed since the snapshot before, of any shape, as `take` takes the snapshot that this makes. False when it makes none: it is for
   * another one, or no change at all. Never throws.
   */
  takeChange(value: unknown): boolean;
  /** Makes what is in force durable, unless it is already: on return, or when the promise resolves. Never throws or rejects. */
  keep(): Promise<void> | undefined;
}

export interface SnapshotsOptions {
  readonly service: SpiffeId;
  readonly folder: SidecarFolder;
  /** Writes a snapshot that was read there. */
  readonly large?: Pick<LargeSnapshots, 'write'>;
  /**
   * Puts it in force as a whole; throws to refuse it with nothing changed. A promise: its bans and bundle are in force, and the rest will be when its policy is
   * built (true), unless a newer one comes before (false).
   */
  readonly apply: (snapshot: Snapshot) => Promise<boolean> | undefined;
  /** A policy that took long to build is in force, or is refused. */
  readonly onSettled?: () => void;
  /** The trust bundle held so far, and how a newer one is taken over. */
  readonly bundle: () => TrustBundle;
  readonly adoptBundle: (bundle: TrustBundle, text: string) => void;
  readonly log: Log;
  readonly metrics: Metrics;
}

export function createSnapshots(options: SnapshotsOptions): Snapshots {
  const { service, folder, log, metrics } = options;
  const outcomes = metrics.counter({
    name: 'postern_snapshots_total',
    help: 'Configuration snapshots by outcome',
    labels: ['outcome'],
  });
  let current: Snapshot | undefined;
  /** The newest that was sent, whatever became of it: what a change is a change of. */
  let received: Snapshot | undefined;
  let kept: Snapshot | undefined;
  let refused: Refusal | undefined;
  let newest = 0;
  /** The newest refused one, whose bans count also beside a policy that comes into force after it. */
  let refusedValue: unknown;
  metrics.gauge({
    name: 'postern_snapshot_revision',
    help: 'The configuration revision in force, 0 for none',
    read: () => current?.revision ?? 0,
  });

  const read = (value: unknown, problems?: readonly Problem[]): Snapshot => {
    received = undefined;
    received = assertSnapshot(value, service, problems);
    return received;
  };
  const putInForce = (snapshot: Snapshot): 'applied' | 'unchanged' | 'building' => {
    const refuse = (reason: string) => fail('SIDECAR_SNAPSHOT_REFUSED', { revision: snapshot.revision, reason });
    if (snapshot.revision < newest) throw refuse(`it is older than revision ${newest}, which is in force`);
    if (isSame(snapshot, current)) return 'unchanged';
    const bundle = readBundle(snapshot, options.bundle(), refuse);
    const building = options.apply(snapshot);
    if (bundle !== options.bundle()) options.adoptBundle(bundle, snapshot.bundle);
    newest = snapshot.revision;
    if (!building) {
      inForce(snapshot);
      return 'applied';
    }
    if (current) current = { ...current, bundle: snapshot.bundle, bans: snapshot.bans };
    void building.then(
      (isInForce) => {
        if (!isInForce) return;
        inForce(snapshot);
        applied();
        if (revisionOf(refusedValue) > snapshot.revision) takeUrgent(refusedValue);
        options.onSettled?.();
      },
      (thrown: unknown) => {
        refuseValue(snapshot, thrown);
        options.onSettled?.();
      },
    );
    return 'building';
  };

  const inForce = (snapshot: Snapshot): void => {
    current = snapshot;
    if (refused && refused.revision <= snapshot.revision) [refused, refusedValue] = [undefined, undefined];
  };
  const applied = (): void => {
    outcomes('applied').value++;
    log.info('a configuration is in force', { revision: current?.revision });
  };
  const refuseValue = (value: unknown, thrown: unknown): void => {
    refused = { revision: revisionOf(value), reason: reasonOf(thrown).slice(0, 4_096) };
    refusedValue = value;
    outcomes('refused').value++;
    log.error('a configuration was refused; the one before it stays in force', {
      ...refused,
      inForce: current?.revision ?? 0,
    });
    takeUrgent(value);
  };

  /**
   * Puts the bans of a refused snapshot, and its trust bundle when that is valid, in force beside the policy of before: whoever is banned
   * must not stay because somebody else wrote a policy that does not work. Without a policy there is nobody to ban: all are denied.
   */
  const takeUrgent = (value: unknown): void => {
    const urgent = readUrgent(value, service);
    if (!current || !urgent || urgent.revision < newest) return;
    for (const bundle of new Set([urgent.bundle, current.bundle])) {
      try {
        // Under the revision of the policy, so that nobody is told that the refused one is held.
        const next: Snapshot = { ...current, bundle, bans: urgent.bans };
        const held = options.bundle();
        const trusted = bundle === current.bundle ? held : readBundle(next, held, (reason) => new TypeError(reason));
        // Its policy is the one in force, or a build that runs for it already.
        const isNew: boolean = !isSame(next, current);
        if (isNew) void options.apply(next);
        [current, newest] = [isNew ? next : current, urgent.revision];
        if (trusted !== held) options.adoptBundle(trusted, bundle);
        return log.info('the bans of the refused configuration are in force', { revision: urgent.revision });
      } catch (thrown) {
        log.error('a part of a refused configuration that should not wait is refused too', {
          reason: messageOf(thrown),
        });
      }
    }
  };

  /** A large one on its way to the disk. */
  let keeping: Promise<void> | undefined;
  const notKept = (thrown: unknown): void => {
    // In force all the same: only a restart while the control plane is away would miss it.
    outcomes('unsaved').value++;
    log.error('the configuration could not be kept on disk', { reason: messageOf(thrown) });
  };

  const take = (value: unknown, problems?: readonly Problem[]): boolean => {
    try {
      const outcome = putInForce(value === received ? received! : read(value, problems));
      if (outcome === 'applied') applied();
      return outcome !== 'building';
    } catch (thrown) {
      refuseValue(value, thrown);
      return false;
    }
  };

  return {
    get revision() {
      return current?.revision ?? 0;
    },
    get current() {
      return current;
    },
    get newest() {
      return newest;
    },
    get refused() {
      return refused;
    },
    restore() {
      const stored = folder.readSnapshot();
      if (!stored) return;
      try {
        if ('broken' in stored) throw new TypeError(stored.broken);
        const outcome = putInForce(read(stored.value));
        if (outcome === 'building') return;
        kept = current;
        log.info('the configuration on disk is in force', { revision: current?.revision });
      } catch (thrown) {
        outcomes('broken').value++;
        log.error(
          'the configuration on disk cannot be used: everything is denied until the control plane sends another',
          {
            path: `${folder.path}/snapshot.json`,
            reason: messageOf(thrown),
          },
        );
      }
    },
    take,
    takeChange(value) {
      if (!received || !isValid(snapshotChange, value)) return false;
      const next = applyChange(received, value);
      if (!next) return false;
      received = next;
      take(next);
      return true;
    },
    keep() {
      if (keeping) return keeping.then(() => this.keep());
      const snapshot = current;
      if (!snapshot || kept === snapshot) return undefined;
      const wasKept = (): void => {
        kept = snapshot;
      };
      try {
        const writing = options.large?.write(folder.snapshotPath, snapshot);
        if (!writing) {
          folder.writeSnapshot(JSON.stringify(snapshot));
          wasKept();
          return undefined;
        }
        keeping = writing.then(wasKept, notKept).finally(() => {
          keeping = undefined;
        });
      } catch (thrown) {
        notKept(thrown);
      }
      return keeping;
    },
  };
}

/** Revisions first: only the same one sent again is worth a look at the rest. Of policies the digest stands for the rules. */
function isSame(one: Snapshot, other: Snapshot | undefined): boolean {
  if (one === other) return true;
  return one.revision === other?.revision && JSON.stringify(shortened(one)) === JSON.stringify(shortened(other));
}

function shortened(snapshot: Snapshot): unknown {
  const { digest, revision } = snapshot.policy;
  return digest === undefined ? snapshot : { ...snapshot, policy: { digest, revision } };
}

function assertSnapshot(
  value: unknown,
  service: SpiffeId,
  problems: readonly Problem[] = check(snapshotSchema, value),
): Snapshot {
  const revision = revisionOf(value);
  const [problem] = problems;
  if (problem) {
    const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
    throw fail(
      'SIDECAR_SNAPSHOT_REFUSED',
      { revision, reason: `${problem.pointer || 'it'} ${problem.message}${more}` },
      { problems },
    );
  }
  const snapshot = value as Snapshot;
  if (snapshot.service !== service.uri) {
    throw fail('SIDECAR_SNAPSHOT_REFUSED', { revision, reason: `it is for ${snapshot.service}, not ${service.uri}` });
  }
  return snapshot;
}

/** What must not wait, of a snapshot of any shape; `undefined` when that part is not one, or for somebody else. */
function readUrgent(value: unknown, service: SpiffeId): UrgentPart | undefined {
  const { version, revision, service: to, bundle, bans } = (value ?? {}) as Partial<UrgentPart>;
  const urgent = { version, revision, service: to, bundle, bans };
  return to === service.uri && isValid(urgentSchema, urgent) ? urgent : undefined;
}

/** The bundle to trust from now on. Never an empty one, never an older one (C21); the same object while nothing changed. */
function readBundle({ bundle: text }: UrgentPart, held: TrustBundle, refuse: (reason: string) => Error): TrustBundle {
  const bundle = parseBundle(held.trustDomain, text);
  if (bundle.roots.length === 0) throw refuse('its trust bundle is empty');
  if (bundle.sequence < held.sequence) {
    throw refuse(`its trust bundle (sequence ${bundle.sequence}) is older than the one held (${held.sequence})`);
  }
  return bundle.sequence === held.sequence ? held : bundle;
}

function revisionOf(value: unknown): number {
  const revision = (value as { revision?: unknown } | null | undefined)?.revision;
  return Number.isSafeInteger(revision) ? (revision as number) : 0;
}

function reasonOf(thrown: unknown): string {
  const details = (thrown as { details?: { reason?: unknown } }).details;
  return typeof details?.reason === 'string' ? details.reason : messageOf(thrown);
}

// What a running control plane is made of, and what must follow when one of its parts changes. No socket is opened here.

import type { RecordStore } from '#audit';
import type { Clock } from '#base/clock';
import type { Log } from '#base/log';
import type { Authority } from '#ca';
import { formatBundle, parseSpiffeId } from '#spiffe';
import type { Snapshot } from '#wire';
import { createDumps, type Dumps } from './dumps.ts';
import type { Events } from './events.ts';
import type { ControlLimits } from './limits.ts';
import { createRegistry, type Registry } from './registry.ts';
import { createResources, type Resources } from './resources.ts';
import { createRevisions } from './revisions.ts';
import { createRotation, type Rotation } from './rotation.ts';
import { namesOfServices } from './service-id.ts';
import { createSnapshots, type Snapshots } from './snapshots.ts';
import type { Store } from './store.ts';
import { createTails, type Tails } from './tails.ts';
import { createTaps, type Taps } from './taps.ts';
import { createWatchers, type Watchers } from './watchers.ts';

export interface Parts {
  readonly authority: Authority;
  readonly records: RecordStore;
  readonly events: Events;
  readonly store: Store;
  readonly registry: Registry;
  readonly resources: Resources;
  readonly snapshots: Snapshots;
  readonly watchers: Watchers;
  readonly tails: Tails;
  readonly taps: Taps;
  readonly dumps: Dumps;
  readonly rotation: Rotation;
  readonly limits: ControlLimits;
  readonly clock: Clock;
  readonly log: Log;
}

export type Opened = Pick<Parts, 'authority' | 'records' | 'events' | 'store' | 'limits' | 'clock' | 'log'>;

export function createParts(opened: Opened): Parts {
  const { authority, records, store, limits, clock, log } = opened;
  const { trustDomain } = authority;
  // The parts below call each other back, always after all of them exist.
  const refresh = (what: Parameters<Snapshots['changed']>[0]): void => {
    snapshots.changed(what);
    watchers.refresh();
  };
  const onResourcesChange = (): void => refresh('resources');
  const resources = createResources({
    ...{ store, clock, trustDomain, onChange: onResourcesChange },
    services: () => namesOfServices(authority, clock.now()),
  });
  let isReady = false;
  const registry = createRegistry({
    ...{ store, clock, log, certificates: certificatesOf(authority, clock.now()) },
    onChange: (service) => isReady && refresh({ endpointsOf: service }),
  });
  const snapshots = createSnapshots({
    policy: () => resources.policy,
    traffic: () => resources.traffic,
    registry,
    bundle: () => {
      const bundle = authority.bundle();
      return { text: formatBundle(bundle), sequence: bundle.sequence };
    },
    bans: () => bansOf(authority),
    trustDomain,
    nextRevision: createRevisions({ store, clock, log }).next,
  });
  const watchers = createWatchers({ snapshots, clock, log, limit: limits.watches, stalledMs: limits.stalledMs });
  const tails = createTails({ records, clock, trustDomain, limit: limits.tails });
  const { tell, connected } = watchers;
  const taps = createTaps({ connected, tell, clock, limit: limits.taps });
  const dumps = createDumps({ tell, clock, limit: limits.dumps });
  const rotation = createRotation({ authority, registry, snapshots, clock, log });
  isReady = true;
  return { ...opened, registry, resources, snapshots, watchers, tails, taps, dumps, rotation };
}

function bansOf(authority: Authority): Snapshot['bans'] {
  const bans = authority.bans();
  return { ids: bans.flatMap(({ id }) => id ?? []).sort(), serials: bans.flatMap(({ serial }) => serial ?? []).sort() };
}

/** Certificates of proxies that are still valid, one for each instance. */
function certificatesOf(authority: Authority, now: number) {
  return authority
    .identities()
    .filter(({ id }) => !parseSpiffeId(id).isReserved)
    .flatMap(({ id, certificates }) =>
      certificates
        .filter(({ notAfter }) => notAfter > now)
        .map(({ instance, notAfter }) => ({ instance, service: id, notAfter })),
    );
}

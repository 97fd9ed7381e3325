// Everything that is known of one service, in one answer: who it is, where it runs, what is declared of it, who may call it and whom it may call.
import type { Ban, IdentityStatus, ProxyStatus } from './admin.ts';
import type { LocatedResource } from './resources.ts';
import type { PolicyRule, PolicySet } from './snapshot.ts';

/** GET /v1/services answers `{ services: ServiceName[] }`. */
export interface ServiceName {
  readonly id: string;
  readonly name: string;
  readonly instances: number;
}

/** GET /v1/services/NAME. */
export interface ServiceReport {
  readonly id: string;
  readonly name: string;
  /** Whether it was ever enrolled here; otherwise it is known by what is declared of it. */
  readonly isEnrolled: boolean;
  /** Of the whole identity. */
  readonly ban?: Ban;
  /** Under which apps call it by default. */
  readonly host: string;
  /** The app ports behind it. */
  readonly ports: readonly number[];
  readonly proxies: readonly ProxyStatus[];
  /** Those that have not expired. */
  readonly certificates: IdentityStatus['certificates'];
  /** Clusters and virtual services of it, and virtual services of others with a route to one of its clusters. */
  readonly resources: readonly LocatedResource[];
  readonly policy: {
    readonly revision: number;
    /** Rules about calls to it, and rules about calls that it makes; at most `mostRules` of each. */
    readonly to: readonly PolicyRule[];
    readonly from: readonly PolicyRule[];
    readonly more: number;
    readonly groups: PolicySet['groups'];
    /** Casbin models that decide about calls to it too. */
    readonly models: readonly string[];
  };
  /** Counted in whole hours. */
  readonly denials: { readonly since: number; readonly called: number; readonly calling: number };
}
export const mostRules = 500;

/** GET /v1/snapshot?service=NAME answers the `Snapshot` that the proxies of a service get. */

// What a matched route tells a proxy to do. Everything is read, checked and counted beforehand: nothing is parsed while a request waits.

/** A request as routes look at it: the canonical head, seen by the side that sends it on. */
export interface Asked {
  readonly method: string;
  /** Of the Host header; 80 when it has none. */
  readonly port: number;
  /** Canonical, without the query. */
  readonly path: string;
  /** Verbatim with its question mark; empty when there is none. */
  readonly query: string;
  /** Names (lower case) and values alternating. */
  readonly fields: readonly string[];
  /** SPIFFE ID of the caller. */
  readonly from: string;
}

/** Where a share of the traffic goes. */
export interface Target {
  readonly cluster: string;
  readonly subset: string | undefined;
  readonly request: HeaderEdits | undefined;
  readonly response: HeaderEdits | undefined;
}

export interface HeaderEdits {
  /** The edited list; the given one is never changed. */
  apply(fields: readonly string[]): readonly string[];
}

interface Common {
  /** Of the virtual service; that of the service itself where none is declared. */
  readonly virtualService: string;
  /** Of the route in it: its name or its place, from 0. */
  readonly route: string;
  readonly fault: FaultPlan | undefined;
  readonly cors: CorsPlan | undefined;
  readonly rateLimits: readonly RateLimitPlan[];
  /** Bytes of a request body. */
  readonly maxBody: number | undefined;
  readonly response: HeaderEdits | undefined;
}

export interface Forward extends Common {
  readonly kind: 'forward';
  /** One of the weighted targets; `at` is uniform in [0, 1). */
  target(at: number): Target;
  readonly targets: readonly Target[];
  readonly request: HeaderEdits | undefined;
  /** The path to send, canonical again; the given one when nothing is rewritten. Throws when no canonical path comes out. */
  readonly rewritePath: ((path: string) => string) | undefined;
  readonly rewriteHost: string | undefined;
  readonly mirrors: readonly { readonly target: Target /** Of all requests, 0 to 1. */; readonly share: number }[];
  readonly timeoutMs: number | undefined;
  readonly idleTimeoutMs: number | undefined;
  readonly retries: RetryPlan;
}

export interface Respond extends Common {
  readonly kind: 'respond';
  readonly status: number;
  readonly body: string;
  readonly fields: readonly string[];
}

export interface Redirect extends Common {
  readonly kind: 'redirect';
  readonly status: number;
  location(o: {
    readonly scheme: 'http' | 'https';
    readonly authority: string;
    readonly path: string;
    readonly query: string;
  }): string;
}

export type HttpAction = Forward | Respond | Redirect;

/** Of a TCP or TLS route. */
export interface TunnelAction {
  readonly virtualService: string;
  readonly route: string;
  target(at: number): Target;
  readonly targets: readonly Target[];
  readonly idleTimeoutMs: number | undefined;
}

export interface FaultPlan {
  readonly delay: { readonly ms: number; readonly share: number } | undefined;
  readonly abort:
    | {
        readonly status: number;
        /** Instead, for calls of gRPC. */
        readonly grpcStatus: number | undefined;
        readonly share: number;
      }
    | undefined;
}

export interface CorsPlan {
  /** Fields to add to the answer of a preflight request, or `undefined` when it is none (then it is routed like any other). */
  preflight(asked: Pick<Asked, 'method' | 'fields'>): readonly string[] | undefined;
  /** Fields to set on the answer of a request with this Origin; none for an origin that is not allowed. */
  answer(asked: Pick<Asked, 'fields'>): readonly string[];
}

export interface RateLimitPlan {
  /** Stable while the configuration of this limit stays, so that a bucket lives through other changes. */
  readonly key: string;
  readonly requests: number;
  readonly perMs: number;
  readonly burst: number;
  readonly each: 'route' | 'peer';
}

/** What a try came to, as retries and outlier detection look at it. */
export type Outcome =
  | { readonly kind: 'answered'; readonly status: number; readonly grpcStatus: number | undefined }
  /** Nothing of it was processed. */
  | { readonly kind: 'connect-failed' | 'refused' }
  /** It may have been processed. */
  | { readonly kind: 'reset' | 'timeout' };

export interface RetryPlan {
  /** After the first try. */
  readonly attempts: number;
  readonly perTryTimeoutMs: number | undefined;
  readonly anotherEndpoint: boolean;
  /** Whether a request with this method may be sent again after that. */
  isWanted(outcome: Outcome, method: string): boolean;
  /** Before the retry of this number, from 1; `at` is uniform in [0, 1): full jitter. */
  backoffMs(retry: number, at: number): number;
}

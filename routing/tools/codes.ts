// What can be found in resources that are in order by themselves. A code never changes its meaning and is never used again; docs/analyze.md is
// made of this table.

/** `error`: it would be refused, or cannot work. `warning`: it does not do what somebody seems to want. `note`: worth knowing. */
export type Severity = 'error' | 'warning' | 'note';

interface Code {
  readonly severity: Severity;
  readonly means: string;
  /** What to do about it. */
  readonly hint: string;
  /** What has to be known beside the resources. */
  readonly needs?: 'live';
}

export const findingCodes = {
  PT001: {
    severity: 'error',
    means: 'refused: the control plane would not take it, and nothing of what is applied with it',
    hint: 'mend what the message says',
  },
  PT002: {
    severity: 'warning',
    means: 'unknown target: no cluster is declared and no policy speaks of a service of this name',
    hint: 'check the spelling, or declare the cluster',
  },
  PT003: {
    severity: 'warning',
    means: 'unreachable route: an earlier route takes everything that it matches',
    hint: 'move it up, or remove it',
  },
  PT004: {
    severity: 'warning',
    means: 'unreachable match: an earlier route takes everything that this one of several matches says',
    hint: 'move the route up, or remove the match',
  },
  PT005: {
    severity: 'warning',
    means: 'empty subset: no instance has its labels, so what is sent there is answered 503',
    hint: 'start instances with these labels (postern sidecar --label), or mend the subset',
    needs: 'live',
  },
  PT006: {
    severity: 'warning',
    means: 'no instances: a route leads to a service of which none is there',
    hint: 'start an instance, or take the route away',
    needs: 'live',
  },
  PT007: {
    severity: 'warning',
    means: 'nobody may call: no policy admits anybody to the service of this virtual service',
    hint: 'write a policy with an allow rule for it',
  },
  PT008: {
    severity: 'warning',
    means: 'refused after routing: the route leads to another service, to which no policy admits anybody',
    hint: 'what a route leads to is decided on again: write a policy for that service too',
  },
  PT009: {
    severity: 'warning',
    means: 'idle policy: it is for a service that is neither enrolled nor declared as a cluster',
    hint: 'check the spelling, or make a token for the service',
    needs: 'live',
  },
  PT010: {
    severity: 'note',
    means: 'odd weights: a target gets nothing, or is there twice',
    hint: 'remove the target, or give one of them the sum',
  },
  PT011: {
    severity: 'warning',
    means: 'in the clear: what is sent to this cluster leaves the machine unencrypted, to whoever answers',
    hint: 'write tls, or route it by an egress gateway that does',
  },
  PT012: {
    severity: 'warning',
    means: 'repeated effects: retries send requests again that may already have done what they ask for',
    hint: 'leave it to idempotent methods, or make sure that the application knows a repeated request',
  },
  PT013: {
    severity: 'warning',
    means: 'retries without time: the time-out of the request ends before all of its tries could',
    hint: 'a longer timeout, a shorter perTryTimeout, or fewer attempts',
  },
  PT014: {
    severity: 'note',
    means: 'unused cluster: no route leads to it and it has no hosts, so it can only be called by its name',
    hint: 'route to it, give it hosts, or remove it',
  },
  PT015: {
    severity: 'note',
    means:
      'no health check: of several endpoints outside the mesh one that is down is found out only by requests that fail',
    hint: 'write healthCheck',
  },
  PT016: {
    severity: 'warning',
    means:
      'certificate trouble: one that is needed has expired, or will within a week (that of an instance: within its last minute)',
    hint: 'renew it',
  },
  PT017: {
    severity: 'warning',
    means: 'expression that matches no path: paths begin with /',
    hint: 'begin it with / or .*',
  },
  PT018: {
    severity: 'error',
    means: 'redirect in a ring: what it redirects to is redirected again by the same route',
    hint: 'redirect to a path that the route does not match',
  },
  PT019: {
    severity: 'note',
    means: 'fault in force: a share of the requests is delayed or refused on purpose',
    hint: 'remove it when the drill is over',
  },
  PT020: {
    severity: 'warning',
    means: 'open outbound: sidecars pass on requests to any host that nothing declares',
    hint: 'declare what is needed as clusters, and write outboundPolicy: registry-only',
  },
  PT021: {
    severity: 'note',
    means: 'no route for the rest: requests that match none are answered 404',
    hint: 'end with a route without match, if they should go anywhere',
  },
  PT022: {
    severity: 'warning',
    means: 'overlapping health checks: one may take longer than the time to the next',
    hint: 'a shorter timeout, or a longer interval',
  },
} as const satisfies Readonly<Record<string, Code>>;

export type FindingCode = keyof typeof findingCodes;

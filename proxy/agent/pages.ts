// What the admin and the health listeners show of a running sidecar. Keys are never shown, and neither are values of headers that carry
// secrets, whether rules or routes ask for them or set them.
import type { Metrics } from '#base/metrics';
import { formatBundle, toPem } from '#spiffe';
import type { Snapshot } from '#wire';
import type { Answer, Page } from '../admin.ts';
import { whenThere } from '../when-there.ts';
import type { Holding } from './disk.ts';
import type { RenewalState } from './renewal.ts';
import type { Refusal } from './snapshots.ts';
import { timeOf } from './token.ts';

export interface Shown {
  readonly now: () => number;
  readonly holding: () => Holding;
  readonly snapshot: () => Snapshot | undefined;
  readonly refused: () => Refusal | undefined;
  readonly connected: () => boolean;
  readonly renewal: () => RenewalState;
  readonly state: () => 'starting' | 'serving' | 'draining';
  readonly addresses: () => unknown;
  readonly counts: () => { readonly inbound: number; readonly outbound: number };
  readonly describe: () => unknown;
  /** Brings the numbers of other threads up to date, where there are any. */
  readonly gather: () => Promise<void> | undefined;
  readonly metrics: Metrics;
  readonly version: string;
  readonly startedAt: number;
}

/** A page of the admin listener, of whichever identity is shown. */
interface PageOf {
  readonly describe: string;
  readonly read: (shown: Shown) => ReturnType<Page['read']>;
}

/** By path; those of a gateway are the same, of each of its services. */
export const pagesOfProxy: Readonly<Record<string, PageOf>> = {
  '/status': { describe: 'state, revision, certificate, connections', read: (shown) => ({ body: statusOf(shown) }) },
  '/config': {
    describe: 'the whole configuration in force',
    read: (shown) => ({ body: redacted(shown.snapshot()) ?? null }),
  },
  '/policy': {
    describe: 'the rules and groups in force',
    read: (shown) => ({ body: redacted(shown.snapshot())?.policy ?? null }),
  },
  '/identity': {
    describe: 'the certificate chain and the trust bundle',
    read: (shown) => ({ body: identityOf(shown) }),
  },
  '/connections': {
    describe: 'what the data plane is doing',
    read: (shown) => upToDate(shown, () => ({ body: hideIn(shown.describe(), '') })),
  },
  '/dump': {
    describe: 'all of it as one answer: postern proxy dump --admin shows it',
    read: (shown) => {
      const parts = dumpOf(shown);
      return whenThere(parts, (body) => ({ body }));
    },
  },
  '/clusters': {
    describe: 'clusters at work: their endpoints, health, ejections, requests under way, bounds that have bitten',
    read: (shown) => upToDate(shown, () => ({ body: (shown.describe() as { clusters?: unknown }).clusters ?? [] })),
  },
};

/** Pages of the admin listener, by path. */
export function adminPages(shown: Shown): Readonly<Record<string, Page>> {
  const pages = Object.entries(pagesOfProxy).map(
    ([path, { describe, read }]) => [path, { describe, read: () => read(shown) }] as const,
  );
  return { ...Object.fromEntries(pages), '/metrics': metricsPage(shown) };
}

/** What an admin is told who asks through the control plane, by part. */
export function dumpOf(shown: Shown): Promise<Readonly<Record<string, unknown>>> | Readonly<Record<string, unknown>> {
  const read = (): Readonly<Record<string, unknown>> => {
    const { policy, bundle: _, ...rest } = redacted(shown.snapshot()) ?? {};
    const { chain: __, bundle: ___, ...certificate } = identityOf(shown);
    return {
      status: statusOf(shown),
      certificate,
      dataPlane: hideIn(shown.describe(), ''),
      configuration: rest,
      policy: policy && {
        ...{ revision: policy.revision, digest: policy.digest },
        ...{ rules: policy.rules, groups: policy.groups, models: policy.models?.map(({ name, to }) => ({ name, to })) },
      },
    };
  };
  return shown.gather()?.then(read) ?? read();
}

/** Pages of the metrics and health listener, by path. */
export function healthPages(shown: Shown): Readonly<Record<string, Page>> {
  return {
    '/livez': { describe: 'the process answers', read: () => ({ body: 'ok\n' }) },
    '/readyz': {
      describe: 'traffic may be sent here',
      read: () => {
        const reasons = unready(shown);
        return reasons.length === 0
          ? { body: 'ok\n' }
          : { status: 503, body: reasons.map((reason) => `${reason}\n`).join('') };
      },
    },
    '/metrics': metricsPage(shown),
  };
}

/** Why no traffic should be sent here; empty when it may. */
export function unready({ state, snapshot, holding, now }: Shown): string[] {
  const { notBefore, notAfter } = holding().identity;
  return [
    ...(state() === 'serving' ? [] : [`the sidecar is ${state()}`]),
    ...(snapshot() ? [] : ['no configuration is in force: everything is denied']),
    ...(now() >= notAfter ? [`the certificate expired at ${timeOf(notAfter)}`] : []),
    ...(now() < notBefore ? [`the certificate is valid from ${timeOf(notBefore)}`] : []),
  ];
}

function metricsPage(shown: Shown): Page {
  const type = 'text/plain; version=0.0.4; charset=utf-8';
  return {
    describe: 'numbers for Prometheus',
    read: () => upToDate(shown, () => ({ body: shown.metrics.render(), type })),
  };
}

function upToDate({ gather }: Shown, read: () => Answer): ReturnType<Page['read']> {
  return gather()?.then(read) ?? read();
}

function statusOf(shown: Shown): unknown {
  const { identity, instance, url } = shown.holding();
  const notReady = unready(shown);
  return {
    service: identity.id.uri,
    instance,
    version: shown.version,
    startedAt: timeOf(shown.startedAt),
    state: shown.state(),
    ready: notReady.length === 0,
    notReady,
    revision: shown.snapshot()?.revision ?? 0,
    policyRevision: shown.snapshot()?.policy.revision ?? 0,
    refused: shown.refused(),
    controlPlane: { url, connected: shown.connected() },
    certificate: { serial: identity.serial, notAfter: timeOf(identity.notAfter), renewal: shown.renewal() },
    connections: shown.counts(),
    addresses: shown.addresses(),
  };
}

function identityOf({ holding }: Shown) {
  const { identity, bundle, instance } = holding();
  return {
    id: identity.id.uri,
    instance,
    serial: identity.serial,
    notBefore: timeOf(identity.notBefore),
    notAfter: timeOf(identity.notAfter),
    chain: identity.chain.map(toPem),
    trustDomain: bundle.trustDomain,
    bundle: JSON.parse(formatBundle(bundle)) as unknown,
  };
}

const secretHeader = /auth|cookie|token|secret|key|password|session/i;

function redacted(snapshot: Snapshot | undefined): Snapshot | undefined {
  if (!snapshot) return undefined;
  const rules = Array.from(snapshot.policy.rules, (rule) =>
    rule.when
      ? { ...rule, when: rule.when.map((one) => (secretHeader.test(one.key) ? { ...one, in: ['(hidden)'] } : one)) }
      : rule,
  );
  const { virtualServices } = snapshot;
  const routes = virtualServices && {
    virtualServices: hideIn(virtualServices, '') as NonNullable<Snapshot['virtualServices']>,
  };
  return { ...snapshot, ...routes, policy: { ...snapshot.policy, rules } };
}

const namesWithin = new Set(['headers', 'withoutHeaders', 'query', 'set', 'add']);

/** Routes may match on a secret, and set one: whatever stands under such a name is hidden. */
function hideIn(value: unknown, within: string): unknown {
  if (Array.isArray(value)) return value.map((each) => hideIn(each, within));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([name, each]) => {
    const isSecret = namesWithin.has(within) && secretHeader.test(name);
    return [name, isSecret ? '(hidden)' : hideIn(each, name)];
  });
  return Object.fromEntries(entries);
}

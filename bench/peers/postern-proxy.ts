// One Postern proxy as a process of its own: the data plane with a policy of 100 rules, the decision log as a sidecar keeps it (worker, signatures and
// syncs included) and metrics. Started by postern.ts, which sends it what it is and hears its port.
import { createPrivateKey } from 'node:crypto';
import { createRecordLog } from '#audit/log';
import { systemClock } from '#base/clock';
import { silentLog } from '#base/log';
import { createMetrics } from '#base/metrics';
import { type Identity, readIdentity } from '#spiffe';
import type { Snapshot } from '#wire';
import { createDataPlane } from '../../proxy/data-plane.ts';
import type { SidecarAddresses } from '../../proxy/ports.ts';

export interface Start {
  readonly side: 'web' | 'payments';
  readonly key: string;
  readonly chain: readonly string[];
  readonly bundle: string;
  /** The next hop, or the application. */
  readonly to: number;
  readonly logFolder: string;
  /** One rule that lets everything through, and nothing is recorded: what the rest costs. */
  readonly isBare: boolean;
}

/** At its size limit before long, where a busy log always is: each new bundle takes over the files of an old one. */
const maxBytes = 16 * 2 ** 20;

process.once('message', (start: Start) => void run(start));

async function run(start: Start): Promise<void> {
  const identity = readIdentity({
    key: createPrivateKey(start.key),
    chain: start.chain.map((der) => Buffer.from(der, 'base64')),
  });
  const loopback = { host: '127.0.0.1', port: 0 };
  const decisions = createRecordLog({
    folder: start.logFolder,
    clock: systemClock,
    log: silentLog,
    origin: `bench.example/${start.side}`,
    maxBytes,
  });
  // As if the control plane had taken them: the log keeps to its size.
  decisions.onAppend(() => decisions.release(decisions.lastSeq - decisions.queued));
  const plane = createDataPlane({
    app: { host: '127.0.0.1', port: start.to, protocol: 'http' },
    inbound: loopback,
    outbound: loopback,
    upstreams: [],
    instance: start.side,
    clock: systemClock,
    log: silentLog,
    metrics: createMetrics(),
    random: Math.random,
    drainMs: 0,
    record: start.isBare ? () => undefined : (record) => decisions.append(record),
    assertRecording() {
      if (!decisions.accepting) throw decisions.refusal();
    },
  });
  plane.setIdentity(identity);
  plane.applySnapshot(snapshotFor(identity, start));
  const { inbound, outbound } = (await plane.listen()) as SidecarAddresses;
  process.send!({ port: start.side === 'web' ? outbound.port : inbound.port });
}

/** 100 rules for the pair; the last one in the list is the one that lets the requests through. */
function snapshotFor(identity: Identity, { bundle, to, isBare }: Start): Snapshot {
  const payments = 'spiffe://example.org/payments';
  const open = {
    ...{ policy: 'bench', id: 'all', effect: 'allow' as const },
    ...{ from: ['spiffe://example.org/web'], to: [payments] },
  };
  const rules = Array.from({ length: 100 }, (_, index) => ({
    policy: 'bench',
    id: `rule-${index}`,
    effect: 'allow' as const,
    from: ['spiffe://example.org/web'],
    to: [payments],
    methods: index === 99 ? ['GET', 'POST'] : ['GET'],
    paths: index === 99 ? ['/charges/{id}', '/files/**'] : [`/other-${index}/{id}`],
  }));
  return {
    version: 1,
    revision: 1,
    service: identity.id.uri,
    bundle,
    bans: { ids: [], serials: [] },
    policy: { revision: 1, rules: isBare ? [open] : rules, groups: {} },
    services: [
      {
        id: payments,
        hosts: ['payments'],
        ports: [],
        endpoints: [{ instance: 'p', address: `127.0.0.1:${to}`, labels: {} }],
      },
    ],
  };
}

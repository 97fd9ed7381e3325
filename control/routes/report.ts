// POST /v1/proxy/report: a proxy's word on its snapshot, and the heartbeat that keeps its lease.
import { proxyReport } from '#wire';
import type { App } from '../app.ts';
import { fail } from '../errors.ts';
import type { Events } from '../events.ts';
import { assertFacts, readMessage } from '../message.ts';
import type { RateLimiter } from '../rate.ts';
import type { Registry } from '../registry.ts';

export interface ReportRoutes {
  readonly events: Events;
  readonly registry: Registry;
  readonly newsRate: RateLimiter;
  /** A proxy acknowledged or refused a revision that it had not spoken of before. */
  readonly onAcknowledged: () => void;
}

export function reportRoutes(app: App, { registry, events, newsRate, onAcknowledged }: ReportRoutes): void {
  app.post('/v1/proxy/report', { config: { caller: 'proxy' } }, async (request) => {
    const { caller } = request;
    if (caller.kind !== 'proxy') throw fail('CALLER_ANONYMOUS');
    const { instance, svid } = caller;
    const report = readMessage(proxyReport, request.body);
    if (report.facts) assertFacts(report.facts);
    if (registry.isNews({ instance, report }) && !newsRate.take(instance))
      throw fail('REQUEST_TOO_MANY', { who: instance });
    const before = registry.get(instance)?.report;
    registry.reported({ instance, service: svid.id.uri, notAfter: svid.notAfter, report });
    const { refused, revision } = report;
    if (refused && refused.revision !== before?.refused?.revision) {
      events.refuse({
        ...{
          action: 'snapshot',
          outcome: 'refused',
          actor: svid.id.uri,
          subject: instance,
          reason: 'SNAPSHOT_REFUSED',
        },
        details: { revision: refused.revision, reason: refused.reason.slice(0, 1_000) },
      });
    }
    if (before?.revision !== revision) onAcknowledged();
    return {};
  });
}

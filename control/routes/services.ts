// GET /v1/services, /v1/services/NAME and /v1/snapshot: what is known of services, and what their proxies get.
import type { App } from '../app.ts';
import { fail } from '../errors.ts';
import { type ReportParts, reportService, serviceNames } from '../service-report.ts';

export function serviceRoutes(app: App, parts: ReportParts): void {
  app.get('/v1/services', { config: { caller: 'admin' } }, async () => ({ services: serviceNames(parts) }));
  // Names may have slashes, so the rest of the path is the name.
  app.get('/v1/services/*', { config: { caller: 'admin' } }, async (request) => {
    const { '*': word } = request.params as { '*': string };
    return reportService(word, parts);
  });
  app.get('/v1/snapshot', { config: { caller: 'admin' } }, async (request) => {
    const { service: word } = request.query as Record<string, unknown>;
    if (typeof word !== 'string') throw fail('REQUEST_INVALID', { reason: 'it does not say whose: service' });
    const { id } = reportService(word, parts);
    const content = parts.snapshots.refresh(id);
    return (JSON.parse(content.whole().toString()) as { snapshot: unknown }).snapshot;
  });
}

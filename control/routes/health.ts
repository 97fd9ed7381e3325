// GET /livez (anybody), /readyz and /metrics (any identity): whether it runs, whether it can do its work, and its numbers.
import type { Metrics } from '#base/metrics';
import type { App } from '../app.ts';

export interface HealthRoutes {
  readonly metrics: Metrics;
  /** What keeps the server from its work, in words. */
  readonly problems: () => readonly string[];
}

export function healthRoutes(app: App, { metrics, problems }: HealthRoutes): void {
  app.get('/livez', { config: { caller: 'public' } }, async () => ({ status: 'ok' }));
  app.get('/readyz', { config: { caller: 'any' } }, async (_request, reply) => {
    const found = problems();
    if (found.length === 0) return { status: 'ok' };
    return reply.code(503).send({ status: 'unready', problems: found });
  });
  app.get('/metrics', { config: { caller: 'any' } }, async (_request, reply) =>
    reply.type('text/plain; version=0.0.4; charset=utf-8').send(metrics.render()),
  );
}

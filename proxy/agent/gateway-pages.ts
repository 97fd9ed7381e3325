// What the admin and the health listeners of a gateway show: what those of a sidecar do, of each of its services by name.
import { renderTogether } from '#base/metrics';
import type { Answer, Page } from '../admin.ts';
import { pagesOfProxy, type Shown, unready } from './pages.ts';

export type ShownServices = () => Iterable<readonly [service: string, shown: Shown]>;

/** Pages of the admin listener, by path. */
export function gatewayAdminPages(services: ShownServices): Readonly<Record<string, Page>> {
  const pages = Object.entries(pagesOfProxy).map(([path, { describe, read }]): [string, Page] => [
    path,
    {
      describe: `${describe}, by service`,
      async read() {
        const all = [...services()].map(async ([service, shown]) => [service, (await read(shown)).body] as const);
        return { body: Object.fromEntries(await Promise.all(all)) };
      },
    },
  ]);
  return { ...Object.fromEntries(pages), '/metrics': metricsPage(services) };
}

/** Pages of the metrics and health listener, by path. */
export function gatewayHealthPages(services: ShownServices, closing: () => boolean): Readonly<Record<string, Page>> {
  return {
    '/livez': { describe: 'the process answers', read: () => ({ body: 'ok\n' }) },
    '/readyz': {
      describe: 'traffic may be sent here: to every service',
      read(): Answer {
        const reasons = [...services()].flatMap(([service, shown]) =>
          unready(shown).map((reason) => `${service}: ${reason}\n`),
        );
        if (closing()) reasons.push('the gateway is draining\n');
        return reasons.length === 0 ? { body: 'ok\n' } : { status: 503, body: reasons.join('') };
      },
    },
    '/metrics': metricsPage(services),
  };
}

function metricsPage(services: ShownServices): Page {
  return {
    describe: 'numbers for Prometheus',
    async read() {
      const all = [...services()];
      await Promise.all(all.map(([, shown]) => shown.gather()));
      const body = renderTogether(
        'service',
        all.map(([service, { metrics }]) => [service, metrics] as const),
      );
      return { body, type: 'text/plain; version=0.0.4; charset=utf-8' };
    },
  };
}

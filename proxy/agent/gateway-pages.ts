// What the admin and the health listeners of a gateway show: what those of a sidecar do, of each of its services by name.
import { renderTogether } from '#base/metrics';
import type { Answer, Page } from '../admin.ts';
import { adminPages, type Shown, unready } from './pages.ts';

export type ShownServices = () => Iterable<readonly [service: string, shown: Shown]>;

/** Pages of the admin listener, by path. */
export function gatewayAdminPages(services: ShownServices): Readonly<Record<string, Page>> {
  const page = (path: string, describe: string): Page => ({
    describe: `${describe}, by service`,
    async read() {
      const read = [...services()].map(async ([service, shown]) => {
        const { body } = await adminPages(shown)[path]!.read();
        return [service, body] as const;
      });
      return { body: Object.fromEntries(await Promise.all(read)) };
    },
  });
  return {
    '/status': page('/status', 'state, revision, certificate, connections'),
    '/config': page('/config', 'the whole configuration in force'),
    '/policy': page('/policy', 'the rules and groups in force'),
    '/identity': page('/identity', 'the certificate chain and the trust bundle'),
    '/connections': page('/connections', 'what the data plane is doing'),
    '/metrics': metricsPage(services),
  };
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

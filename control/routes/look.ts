// Looking into running proxies: POST /v1/tap and GET /v1/dump for admins, and where proxies hand in what was asked of them.
import { pathFault } from '#policy';
import { type DumpReply, dumpAnswer, largestDump, type TapFilter, type TapReceipt, tapBatch, tapRequest } from '#wire';
import type { App } from '../app.ts';
import { actorOf, type Caller } from '../caller.ts';
import type { Dumps } from '../dumps.ts';
import { fail } from '../errors.ts';
import type { Events } from '../events.ts';
import { readMessage } from '../message.ts';
import { type Named, proxiesNamed } from '../named.ts';
import type { Registry } from '../registry.ts';
import type { TappedProxy, Taps } from '../taps.ts';

export interface LookRoutes {
  readonly taps: Taps;
  readonly dumps: Dumps;
  readonly registry: Registry;
  readonly events: Events;
  readonly trustDomain: string;
  readonly tapBytes: number;
}

/** Proxies that one request asks for their dump. */
const mostDumps = 16;
const everybody: Named = { subject: '*', has: () => true };

export function lookRoutes(app: App, { taps, dumps, registry, events, trustDomain, tapBytes }: LookRoutes): void {
  const named = (word: string | undefined): Named =>
    word === undefined ? everybody : proxiesNamed(word, { registry, trustDomain });

  // Who looks at whose traffic is on record before the first line of it is shown.
  app.post('/v1/tap', { config: { caller: 'admin', action: 'tap' } }, (request, reply) => {
    const { proxies, filter, limit, forMs } = readMessage(tapRequest, request.body);
    const fault = filter.path === undefined ? undefined : pathFault(filter.path);
    if (fault) throw fail('REQUEST_INVALID', { reason: `the path ${filter.path}: ${fault}` });
    const whose = named(proxies);
    taps.open({
      ...{ filter, limit, forMs, isAsked: whose.has },
      start() {
        const details = { ...plain(filter), limit, forMs };
        events.record({
          action: 'tap',
          outcome: 'done',
          actor: actorOf(request.caller),
          subject: whose.subject,
          details,
        });
        reply.hijack();
        return reply.raw;
      },
    });
    return reply;
  });
  app.post(
    '/v1/proxy/tap',
    { bodyLimit: tapBytes, config: { caller: 'proxy' } },
    async (request): Promise<TapReceipt> => {
      const proxy = proxyOf(request.caller);
      const batch = readMessage(tapBatch, request.body);
      for (const { instance, service } of batch.records) {
        if (instance === proxy.instance && service === proxy.service) continue;
        throw fail('RECORD_FOREIGN', { found: `${service} (${instance})`, caller: proxy.service });
      }
      return { more: taps.receive(proxy, batch) };
    },
  );

  app.get('/v1/dump', { config: { caller: 'admin' } }, async (request): Promise<DumpReply> => {
    const { proxies: word } = request.query as Record<string, unknown>;
    if (typeof word !== 'string') throw fail('REQUEST_INVALID', { reason: 'it does not say whose dump: proxies' });
    const whose = named(word);
    const all = [...registry.all()].filter(whose.has).sort((a, b) => (a.instance < b.instance ? -1 : 1));
    // Who is alive is asked first: those that left need not be there for others to answer.
    const live = all.filter((one) => registry.isLeased(one) && !one.gone);
    const chosen = live.length > 0 ? live : all;
    const answers = chosen.slice(0, mostDumps).map(async ({ instance, service }) => {
      try {
        return { instance, service, dump: await dumps.ask(instance) };
      } catch (thrown) {
        return { instance, service, problem: (thrown as Error).message };
      }
    });
    return { proxies: await Promise.all(answers), more: Math.max(0, chosen.length - mostDumps) };
  });
  app.post('/v1/proxy/dump', { bodyLimit: largestDump, config: { caller: 'proxy' } }, async (request) => {
    const { instance } = proxyOf(request.caller);
    dumps.receive(instance, readMessage(dumpAnswer, request.body));
    return {};
  });
}

function proxyOf(caller: Caller): TappedProxy {
  if (caller.kind !== 'proxy') throw fail('CALLER_ANONYMOUS');
  return { instance: caller.instance, service: caller.svid.id.uri };
}

/** As an event can carry it. */
function plain({ methods, ...filter }: TapFilter): Record<string, string> {
  return { ...filter, ...(methods ? { methods: methods.join(',') } : {}) };
}

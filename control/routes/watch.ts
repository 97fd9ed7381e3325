// POST /v1/proxy/watch: the stream on which a proxy gets its snapshots. It lives as long as the connection that carries it.
import { watchRequest } from '#wire';
import type { App } from '../app.ts';
import { fail } from '../errors.ts';
import { readMessage } from '../message.ts';
import type { Watchers } from '../watchers.ts';

export interface WatchRoutes {
  readonly watchers: Watchers;
  /** Its stream is open, and has its configuration. */
  readonly onOpened: (proxy: { readonly instance: string; readonly service: string }) => void;
}

export function watchRoutes(app: App, { watchers, onOpened }: WatchRoutes): void {
  app.post('/v1/proxy/watch', { config: { caller: 'proxy' } }, (request, reply) => {
    const { caller } = request;
    if (caller.kind !== 'proxy') throw fail('CALLER_ANONYMOUS');
    const { revision, changes = false } = readMessage(watchRequest, request.body);
    watchers.open({
      instance: caller.instance,
      service: caller.svid.id.uri,
      held: revision,
      takesChanges: changes,
      start: () => {
        reply.hijack();
        return reply.raw;
      },
    });
    onOpened({ instance: caller.instance, service: caller.svid.id.uri });
    return reply;
  });
}

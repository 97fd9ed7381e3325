// Decision records: handed in by proxies, each its own only; asked for and followed by admins.
import type { RecordStore } from '#audit';
import { type RecordReceipt, recordBatch, recordQuery } from '#wire';
import type { App } from '../app.ts';
import { fail } from '../errors.ts';
import { readMessage, readQuery } from '../message.ts';
import type { Tails } from '../tails.ts';

export interface RecordRoutes {
  readonly records: RecordStore;
  readonly recordBytes: number;
  readonly tails: Tails;
}

export function recordRoutes(app: App, { records, recordBytes, tails }: RecordRoutes): void {
  app.post(
    '/v1/proxy/records',
    { bodyLimit: recordBytes, config: { caller: 'proxy' } },
    async (request): Promise<RecordReceipt> => {
      const { caller } = request;
      if (caller.kind !== 'proxy') throw fail('CALLER_ANONYMOUS');
      const { records: batch } = readMessage(recordBatch, request.body);
      for (const { instance, service } of batch) {
        if (instance === caller.instance && service === caller.svid.id.uri) continue;
        throw fail('RECORD_FOREIGN', { found: `${service} (${instance})`, caller: caller.svid.id.uri });
      }
      return { through: records.add(caller.instance, batch) };
    },
  );
  app.get('/v1/records', { config: { caller: 'admin' } }, async (request) =>
    records.query(readQuery(recordQuery, request.query)),
  );
  app.get('/v1/events', { config: { caller: 'admin' } }, async (request) =>
    records.events(readQuery(recordQuery, request.query)),
  );
  app.get('/v1/records/tail', { config: { caller: 'admin' } }, (request, reply) => {
    const query = readQuery(recordQuery, request.query);
    tails.open({
      query,
      start: () => {
        reply.hijack();
        return reply.raw;
      },
    });
    return reply;
  });
}

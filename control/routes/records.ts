// Decision records: handed in by proxies, each its own only; asked for and followed by admins.
import type { RecordStore } from '#audit';
import {
  acknowledgeRequest,
  type CheckpointReply,
  checkpointRequest,
  type MaskReply,
  maskRequest,
  type RecordReceipt,
  recordBatch,
  recordQuery,
  tallyQuery,
  type WitnessReply,
} from '#wire';
import type { App } from '../app.ts';
import { actorOf } from '../caller.ts';
import { fail } from '../errors.ts';
import type { Events } from '../events.ts';
import { readMessage, readQuery } from '../message.ts';
import type { Tails } from '../tails.ts';

export interface RecordRoutes {
  readonly records: RecordStore;
  readonly events: Events;
  readonly recordBytes: number;
  readonly tails: Tails;
}

export function recordRoutes(app: App, { records, events, recordBytes, tails }: RecordRoutes): void {
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
  app.post('/v1/proxy/checkpoint', { config: { caller: 'proxy' } }, async (request): Promise<CheckpointReply> => {
    const { caller } = request;
    if (caller.kind !== 'proxy') throw fail('CALLER_ANONYMOUS');
    const { instance, svid } = caller;
    return records.witness.add({ instance, service: svid.id.uri }, readMessage(checkpointRequest, request.body));
  });
  app.get('/v1/logs', { config: { caller: 'admin' } }, async (): Promise<WitnessReply> => {
    const { witness } = records;
    return { witness: witness.verifierKey, logs: witness.logs() };
  });
  app.post('/v1/logs/acknowledge', { config: { caller: 'admin', action: 'log.acknowledge' } }, async (request) => {
    const { instance } = readMessage(acknowledgeRequest, request.body);
    if (!records.witness.acknowledge(instance)) throw fail('LOG_UNKNOWN', { instance });
    events.record({ action: 'log.acknowledge', outcome: 'done', actor: actorOf(request.caller), subject: instance });
    return {};
  });
  app.get('/v1/records/top', { config: { caller: 'admin' } }, async (request) => ({
    rows: records.tally(readQuery(tallyQuery, request.query)),
  }));
  app.post(
    '/v1/records/mask',
    { config: { caller: 'admin', action: 'records.mask' } },
    async (request): Promise<MaskReply> => {
      const asked = readMessage(maskRequest, request.body);
      if (asked.before === undefined && asked.id === undefined)
        throw fail('REQUEST_INVALID', { reason: 'it says neither before nor id' });
      const erased = await records.mask(asked);
      const details = {
        fields: asked.fields.join(','),
        ...(asked.before === undefined ? {} : { before: asked.before }),
        erased,
      };
      events.record({
        ...{ action: 'records.mask', outcome: 'done', actor: actorOf(request.caller), details },
        ...(asked.id === undefined ? {} : { subject: asked.id }),
      });
      return { erased };
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

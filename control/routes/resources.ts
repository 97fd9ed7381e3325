// /v1/resources and /v1/policy: what operators wrote, and the policy that it makes.

import type { ApplyReply, VersionReply } from '#wire';
import { applyRequest, rollbackRequest } from '#wire';
import type { App } from '../app.ts';
import { actorOf, type Caller } from '../caller.ts';
import { fail } from '../errors.ts';
import type { Events } from '../events.ts';
import { readMessage } from '../message.ts';
import type { Resources } from '../resources.ts';
import type { Store } from '../store.ts';

export interface ResourceRoutes {
  readonly resources: Resources;
  readonly store: Pick<Store, 'versions' | 'version'>;
  readonly events: Events;
  readonly applyBytes: number;
}

/** As many names as an event may carry. */
const namesInEvent = 4_000;

export function resourceRoutes(app: App, { resources, store, events, applyBytes }: ResourceRoutes): void {
  const note = (
    action: 'apply' | 'delete' | 'rollback',
    caller: Caller,
    { revision, changes }: ApplyReply,
    more: Readonly<Record<string, number>> = {},
  ): void => {
    const changed = changes.filter(({ change }) => change !== 'unchanged');
    if (changed.length === 0) return;
    const counts: Record<string, number> = {};
    for (const { change } of changed) counts[change] = (counts[change] ?? 0) + 1;
    const names = changed.map(({ kind, name }) => `${kind}/${name}`).join(', ');
    const subject = changed.length === 1 ? names : `${changed.length} resources`;
    events.record({
      ...{ action, outcome: 'done', actor: actorOf(caller), subject },
      details: { revision, ...more, ...counts, names: names.slice(0, namesInEvent) },
    });
  };
  const body = { bodyLimit: applyBytes };
  app.post('/v1/resources', { ...body, config: { caller: 'admin', action: 'apply' } }, async (request) => {
    const asked = readMessage(applyRequest, request.body);
    const reply = resources.apply(asked, actorOf(request.caller));
    if (!asked.dryRun) note('apply', request.caller, reply);
    return reply;
  });
  app.get('/v1/resources', { config: { caller: 'admin' } }, async (request) => {
    const { kind, name } = request.query as Record<string, unknown>;
    for (const value of [kind, name]) {
      if (value !== undefined && typeof value !== 'string')
        throw fail('REQUEST_INVALID', { reason: 'a parameter is given twice' });
    }
    return { resources: resources.list({ kind: kind as string | undefined, name: name as string | undefined }) };
  });
  // Names may have slashes, so the rest of the path is the name.
  app.delete('/v1/resources/:kind/*', { config: { caller: 'admin', action: 'delete' } }, async (request) => {
    const { kind, '*': name } = request.params as { kind: string; '*': string };
    const reply = resources.remove({ kind, name }, actorOf(request.caller));
    note('delete', request.caller, reply);
    return reply;
  });
  app.get('/v1/versions', { config: { caller: 'admin' } }, async () => ({ versions: store.versions() }));
  app.get('/v1/versions/:revision', { config: { caller: 'admin' } }, async (request): Promise<VersionReply> => {
    const { revision: given } = request.params as { revision: string };
    const revision = /^[0-9]{1,15}$/.test(given) ? Number(given) : Number.NaN;
    const kept = Number.isNaN(revision) ? undefined : store.version(revision);
    if (!kept) throw fail('VERSION_UNKNOWN', { revision: given });
    return { revision, resources: kept };
  });
  app.post('/v1/rollback', { config: { caller: 'admin', action: 'rollback' } }, async (request) => {
    const asked = readMessage(rollbackRequest, request.body);
    const reply = resources.rollback(asked, actorOf(request.caller));
    if (!asked.dryRun) note('rollback', request.caller, reply, { to: asked.revision });
    return reply;
  });
  app.get('/v1/policy', { config: { caller: 'admin' } }, async () => resources.policy);
}

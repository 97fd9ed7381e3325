// /v1/bans and /v1/unbans: shutting an identity or one certificate out, everywhere, within a second.
import type { Authority } from '#ca';
import { type BanRequest, banRequest } from '#wire';
import type { App } from '../app.ts';
import { actorOf, type Caller } from '../caller.ts';
import { fail } from '../errors.ts';
import { readMessage } from '../message.ts';
import { readServiceId } from '../service-id.ts';

export function banRoutes(app: App, { authority }: { readonly authority: Authority }): void {
  const read = (body: unknown) => {
    const { id, serial, reason }: BanRequest = readMessage(banRequest, body);
    if ((id === undefined) === (serial === undefined)) {
      throw fail('REQUEST_INVALID', { reason: 'give either an id or a serial' });
    }
    return {
      ...(id === undefined ? {} : { id: readServiceId(id, authority.trustDomain) }),
      ...(serial === undefined ? {} : { serial }),
      ...(reason === undefined ? {} : { reason }),
    };
  };
  app.get('/v1/bans', { config: { caller: 'admin' } }, async () => ({ bans: authority.bans() }));
  app.post('/v1/bans', { config: { caller: 'admin', action: 'ban' } }, async (request) => {
    const target = read(request.body);
    const renewals = target.serial === undefined ? [] : authority.renewalsOf(target.serial);
    refuseSelf(request.caller, { ...target, renewals });
    authority.ban({ ...target, by: actorOf(request.caller) });
    return { bans: authority.bans() };
  });
  app.post('/v1/unbans', { config: { caller: 'admin', action: 'unban' } }, async (request) => {
    authority.unban({ ...read(request.body), by: actorOf(request.caller) });
    return { bans: authority.bans() };
  });
}

/** An admin who shut themselves out could not undo it, nor could anybody else. */
function refuseSelf(
  caller: Caller,
  target: { readonly id?: { readonly uri: string }; readonly serial?: string; readonly renewals: readonly string[] },
): void {
  if (caller.kind === 'public') throw fail('CALLER_ANONYMOUS');
  const { id, serial } = caller.svid;
  const isSelf = target.id?.uri === id.uri || target.serial === serial || target.renewals.includes(serial);
  if (isSelf) throw fail('BAN_SELF', { id: id.uri });
}

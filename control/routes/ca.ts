// GET /v1/ca and POST /v1/ca/rotate: the state of the authority, and starting a rotation. Rotations go on by themselves from there.
import type { Authority } from '#ca';
import { rotateRequest } from '#wire';
import type { App } from '../app.ts';
import { actorOf } from '../caller.ts';
import { readMessage } from '../message.ts';

export interface CaRoutes {
  readonly authority: Authority;
  /** Called after an admin started one. */
  readonly onRotation: (what: 'issuing' | 'root') => void;
}

export function caRoutes(app: App, { authority, onRotation }: CaRoutes): void {
  app.get('/v1/ca', { config: { caller: 'admin' } }, async () => authority.status());
  app.post('/v1/ca/rotate', { config: { caller: 'admin', action: 'rotate' } }, async (request) => {
    const { what } = readMessage(rotateRequest, request.body);
    const by = actorOf(request.caller);
    await (what === 'root' ? authority.rotateRoot({ by }) : authority.rotateIssuing({ by }));
    onRotation(what);
    return authority.status();
  });
}

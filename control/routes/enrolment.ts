// POST /v1/enrol and POST /v1/renew: getting and keeping an identity. The answer leaves only after the instance is durably on record.
import { networkOf } from '#base/network';
import type { Authority, IssuedSvid } from '#ca';
import { formatBundle } from '#spiffe';
import { enrolRequest, renewRequest, type SvidReply, wireVersion } from '#wire';
import type { App } from '../app.ts';
import { fail } from '../errors.ts';
import type { RequestContext } from '../events.ts';
import { assertFacts, readMessage } from '../message.ts';
import type { RateLimiter } from '../rate.ts';
import type { Registry } from '../registry.ts';

export interface EnrolmentRoutes {
  readonly authority: Authority;
  readonly registry: Registry;
  readonly enrolRate: RateLimiter;
  readonly renewRate: RateLimiter;
}

export function enrolmentRoutes(app: App, { authority, registry, enrolRate, renewRate }: EnrolmentRoutes): void {
  const enrol = {
    config: { caller: 'public', action: 'enrol' },
    // Before the body is read: a flood costs as little as can be.
    onRequest: async ({ context: { remote } }: { context: RequestContext }) => {
      const who = networkOf(remote.slice(0, remote.lastIndexOf(':')));
      if (!enrolRate.take(who)) throw fail('REQUEST_TOO_MANY', { who });
    },
  } as const;
  app.post('/v1/enrol', enrol, async (request) => {
    const token = /^Bearer ([A-Za-z0-9._-]+)$/i.exec(request.headers.authorization ?? '')?.[1];
    if (token === undefined) throw fail('TOKEN_MISSING');
    const { csr, facts } = readMessage(enrolRequest, request.body);
    assertFacts(facts);
    const issued = await authority.enrol({ token, csr: Buffer.from(csr, 'base64') });
    const { instance, id, notAfter } = issued;
    registry.enrolled({ instance, service: id.uri, facts, notAfter });
    return replyTo(issued, authority);
  });
  app.post('/v1/renew', { config: { caller: 'any', action: 'renew' } }, async (request) => {
    const { caller } = request;
    if (caller.kind === 'public') throw fail('CALLER_ANONYMOUS');
    const who = caller.kind === 'proxy' ? caller.instance : caller.svid.id.uri;
    if (!renewRate.take(who)) throw fail('REQUEST_TOO_MANY', { who });
    const { csr } = readMessage(renewRequest, request.body);
    const issued = await authority.renew({ presented: caller.svid, csr: Buffer.from(csr, 'base64') });
    const { instance, id, notAfter } = issued;
    if (caller.kind === 'proxy') registry.renewed({ instance, service: id.uri, notAfter });
    return replyTo(issued, authority);
  });
}

function replyTo({ id, instance, chain, notBefore, notAfter }: IssuedSvid, authority: Authority): SvidReply {
  return {
    version: wireVersion,
    id: id.uri,
    instance,
    chain: chain.map((der) => Buffer.from(der).toString('base64')),
    notBefore,
    notAfter,
    bundle: formatBundle(authority.bundle()),
  };
}

// How a sidecar comes by its first identity: from disk, or with a join token. The key is made here and never leaves; it is on disk before
// the request is sent, so that a reply lost on the way, or a process killed while waiting, can ask again with the same key.
import { createBackoff } from '#base/backoff';
import type { Clock } from '#base/clock';
import { isPosternError, PosternError } from '#base/error';
import type { Log } from '#base/log';
import { createCsr, type SpiffeId } from '#spiffe';
import { type EnrolRequest, type InstanceFacts, svidReply, wireVersion } from '#wire';
import { createChannel } from '#wire/channel';
import { type Holding, isCurrent, type SidecarFolder } from './disk.ts';
import { fail } from './errors.ts';
import { acceptIssued, chainsTo } from './issued.ts';
import { type JoinToken, readJoinToken, timeOf } from './token.ts';

export interface EnrolOptions {
  readonly folder: SidecarFolder;
  readonly token: string | undefined;
  readonly facts: InstanceFacts;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
}

/** How often a lost enrolment is asked again before giving up; with the waits between, about ten seconds. */
const attempts = 6;

/** The identity to run with: the stored one while it is valid, else a new one for the token. On return it is durable. */
export async function obtainIdentity(options: EnrolOptions): Promise<Holding> {
  const { folder, clock, log } = options;
  const held = folder.readHolding();
  const now = clock.now();
  if (!held) {
    if (options.token === undefined) throw fail('SIDECAR_TOKEN_MISSING', { path: folder.path });
    return enrol(readJoinToken(options.token, now), options);
  }
  const { identity } = held;
  if (isCurrent(identity, now)) {
    if (options.token !== undefined) noteSpareToken(options.token, held, options);
    return held;
  }
  const id = identity.id;
  if (now < identity.notBefore) {
    const [notBefore, notAfter] = [timeOf(identity.notBefore), timeOf(identity.notAfter)];
    throw fail('SIDECAR_CLOCK_WRONG', { id: id.uri, notBefore, notAfter, now: timeOf(now) });
  }
  const expired = timeOf(identity.notAfter);
  if (options.token === undefined) {
    throw fail('SIDECAR_IDENTITY_EXPIRED', { id: id.uri, path: folder.path, expired, service: id.service });
  }
  const token = readJoinToken(options.token, now);
  assertSameService(token, held, folder);
  log.info('the stored certificate has expired; enrolling again', { id: id.uri, expired });
  return enrol(token, options);
}

async function enrol(token: JoinToken, options: EnrolOptions): Promise<Holding> {
  const { folder, facts, clock, log, random } = options;
  const key = folder.pendingKey(token.id);
  const body: EnrolRequest = { version: wireVersion, csr: Buffer.from(createCsr(key)).toString('base64'), facts };
  const { url, bundle, service } = token;
  const channel = createChannel({ url, identity: () => undefined, bundle: () => bundle, clock });
  try {
    const reply = await insist({ clock, random, log }, () =>
      channel.call({
        method: 'POST',
        path: '/v1/enrol',
        body,
        headers: { authorization: `Bearer ${token.text}` },
        reply: svidReply,
      }),
    );
    const holding = acceptIssued({ reply, key, expect: service, bundle, url, now: clock.now() });
    folder.writeHolding(holding, token.id);
    log.info('enrolled', { id: service.uri, instance: holding.instance, notAfter: timeOf(holding.identity.notAfter) });
    return holding;
  } catch (thrown) {
    throw withRemedy(thrown, service);
  } finally {
    channel.close();
  }
}

/** The control plane tells a caller without a certificate little; what to do about a refused token is known here. */
function withRemedy(thrown: unknown, { service }: SpiffeId): unknown {
  if (!isPosternError(thrown) || !thrown.code.startsWith('TOKEN_') || thrown.hint) return thrown;
  const { code, message, status, retryable } = thrown;
  const hint = `run: postern token create ${service}, then start again with --token`;
  return new PosternError(code, { message: '{message}', hint, status, retryable }, { message }, { cause: thrown });
}

/** Asks again while the control plane cannot be reached; a refusal is final. */
async function insist<T>(
  o: { readonly clock: Clock; readonly random: () => number; readonly log: Log },
  ask: () => Promise<T>,
): Promise<T> {
  const backoff = createBackoff({ firstMs: 250, longestMs: 4_000, random: o.random });
  for (let left = attempts - 1; ; left--) {
    try {
      return await ask();
    } catch (thrown) {
      if (!isPosternError(thrown) || !thrown.retryable || left <= 0) throw thrown;
      const waitMs = backoff.next();
      o.log.warn('the enrolment is tried again', { reason: thrown.message, inMs: Math.round(waitMs) });
      await new Promise<void>((resolve) => keepAlive(o.clock, waitMs, resolve));
    }
  }
}

/** A wait that the process must not exit under: nothing else holds it open yet. */
function keepAlive(clock: Clock, ms: number, done: () => void): void {
  const hold = setInterval(() => undefined, 60_000);
  clock.after(ms, () => {
    clearInterval(hold);
    done();
  });
}

/** A valid identity is here already: a token for the same service is not needed, any other is a mistake to be told about. */
function noteSpareToken(text: string, held: Holding, { folder, clock, log }: EnrolOptions): void {
  let token: JoinToken;
  try {
    token = readJoinToken(text, clock.now());
  } catch (thrown) {
    log.warn('the join token is not needed and was not used', { reason: (thrown as PosternError).message });
    return;
  }
  assertSameService(token, held, folder);
  if (!chainsTo({ chain: held.identity.chain, bundle: token.bundle, now: clock.now() })) {
    throw fail('SIDECAR_TOKEN_OTHER_MESH', { path: folder.path, trustDomain: held.identity.id.trustDomain });
  }
  log.info('the join token was not needed: a valid identity is stored here', { id: held.identity.id.uri });
}

function assertSameService(token: JoinToken, held: Holding, folder: SidecarFolder): void {
  const [wanted, id] = [token.service.uri, held.identity.id.uri];
  if (wanted !== id) throw fail('SIDECAR_TOKEN_FOREIGN', { path: folder.path, held: id, wanted });
}

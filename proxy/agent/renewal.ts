// When the certificate is renewed: at half of its life, on the control plane's word, and for ever with back-off when that fails.
// Each renewal has a fresh key. Never gives up, never hurries a control plane that is down, says early when expiry comes near, and never
// stops traffic because a disk is full.
import { createBackoff } from '#base/backoff';
import type { Clock } from '#base/clock';
import { messageOf } from '#base/error';
import type { Log } from '#base/log';
import type { Metrics } from '#base/metrics';
import { createCsr, createKeyPair, type Identity } from '#spiffe';
import { type RenewRequest, svidReply, wireVersion } from '#wire';
import type { Channel } from '#wire/channel';
import type { Holding, SidecarFolder } from './disk.ts';
import { acceptIssued } from './issued.ts';
import { isRefusedIdentity } from './standing.ts';
import { timeOf } from './token.ts';

export type RenewalState = 'current' | 'failing' | 'banned' | 'expired';

export interface Renewal {
  readonly state: RenewalState;
  /** The control plane asks for a new certificate now: within moments, spread so that a thousand proxies do not knock together. */
  renewSoon(): void;
  close(): void;
}

export interface RenewalOptions {
  readonly holding: () => Holding;
  /** Takes the new identity over; called when it is durable, or when the disk has refused it. */
  readonly adopt: (next: Holding) => void;
  readonly channel: Channel;
  readonly folder: SidecarFolder;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Wall time may jump and timers sleep with the machine, so the certificate is looked at this often whatever was planned. */
const longestSleepMs = 30_000;
/** Between two attempts, however near the end is. */
const shortestMs = 250;
const keyName = 'renewal';

export function startRenewal(options: RenewalOptions): Renewal {
  const { clock, random, log, metrics, holding, folder } = options;
  const outcomes = metrics.counter({
    name: 'postern_identity_renewals_total',
    help: 'Renewals of the own certificate by outcome',
    labels: ['outcome'],
  });
  metrics.gauge({
    name: 'postern_identity_not_after_timestamp_seconds',
    help: 'When the own certificate expires, seconds since the Unix epoch',
    read: () => holding().identity.notAfter / 1_000,
  });
  let state: RenewalState = 'current';
  let backoff = backoffFor(holding(), random);
  let dueAt = halfLife(holding(), random);
  let cancel: (() => void) | undefined;
  let running = false;
  let unkept = false;
  let closed = false;

  const arm = (): void => {
    cancel?.();
    if (!closed) cancel = clock.after(Math.min(longestSleepMs, Math.max(0, dueAt - clock.now())), () => void look());
  };

  const look = async (): Promise<void> => {
    if (running || closed) return;
    const { identity } = holding();
    if (unkept) keep(holding());
    if (identity.notAfter <= clock.now()) noteExpired(identity);
    else if (clock.now() >= dueAt) {
      running = true;
      await attempt();
      running = false;
    }
    arm();
  };

  const attempt = async (): Promise<void> => {
    try {
      const next = await renew(options);
      if (closed) return;
      keep(next);
      options.adopt(next);
      outcomes('renewed').value++;
      if (state !== 'current')
        log.info('the certificate could be renewed again', { notAfter: timeOf(next.identity.notAfter) });
      else log.debug('the certificate was renewed', { notAfter: timeOf(next.identity.notAfter) });
      state = 'current';
      backoff = backoffFor(next, random);
      dueAt = halfLife(next, random);
    } catch (thrown) {
      if (!closed) noteFailure(thrown);
    }
  };

  /** A disk that refuses costs no traffic: only a restart would find the older certificate. It is tried again until it is kept. */
  const keep = (next: Holding): void => {
    try {
      folder.writeHolding(next, keyName);
      if (unkept) log.info('the certificate is kept on disk again');
      unkept = false;
    } catch (thrown) {
      if (!unkept) {
        outcomes('unkept').value++;
        const fields = { reason: messageOf(thrown), notAfter: timeOf(next.identity.notAfter) };
        log.error('the new certificate could not be kept on disk: it is used, and a restart would not have it', fields);
      }
      unkept = true;
    }
  };

  const noteFailure = (thrown: unknown): void => {
    const { identity } = holding();
    const leftMs = identity.notAfter - clock.now();
    const fields = { id: identity.id.uri, reason: messageOf(thrown), notAfter: timeOf(identity.notAfter), leftMs };
    if (isRefusedIdentity(thrown)) {
      outcomes('banned').value++;
      if (state !== 'banned') log.error('this identity is banned: it is asked for again only now and then', fields);
      state = 'banned';
      dueAt = clock.now() + Math.max(backoff.next(), clamp(lifeOf(holding()) / 4, 1_000, 300_000));
      return;
    }
    outcomes('failed').value++;
    state = 'failing';
    const near = leftMs < lifeOf(holding()) / 4;
    if (near)
      log.error(
        'the certificate is about to expire and cannot be renewed; all traffic is refused from then on',
        fields,
      );
    else log.warn('the certificate could not be renewed; trying again', fields);
    // However long the pauses have become: often enough that a control plane that is back in time is found in time.
    dueAt = clock.now() + Math.min(backoff.next(), Math.max(shortestMs, leftMs / 4));
  };

  const noteExpired = (identity: Identity): void => {
    if (state !== 'expired') {
      outcomes('expired').value++;
      const { uri, service } = identity.id;
      const hint = `run: postern token create ${service}, then start this sidecar again with --token`;
      log.error('the certificate has expired: all traffic is refused', {
        id: uri,
        notAfter: timeOf(identity.notAfter),
        hint,
      });
    }
    state = 'expired';
    // A clock that is set right again makes it valid again.
    dueAt = clock.now() + longestSleepMs;
  };

  arm();
  return {
    get state() {
      return state;
    },
    renewSoon() {
      const spreadMs = Math.min(5_000, lifeOf(holding()) / 20);
      dueAt = Math.min(dueAt, clock.now() + random() * spreadMs);
      arm();
    },
    close() {
      closed = true;
      cancel?.();
    },
  };
}

/** Asks for a certificate for a fresh key, and checks it. */
async function renew({ holding, channel, clock }: RenewalOptions): Promise<Holding> {
  const { identity, bundle, url } = holding();
  const key = createKeyPair();
  const body: RenewRequest = { version: wireVersion, csr: Buffer.from(createCsr(key)).toString('base64') };
  const reply = await channel.call({ method: 'POST', path: '/v1/renew', body, reply: svidReply });
  // The bundle may have changed while the call ran (a root rotation): what is trusted now counts.
  const trusted = holding().bundle.sequence > bundle.sequence ? holding().bundle : bundle;
  return acceptIssued({ reply, key, expect: identity.id, bundle: trusted, url, now: clock.now() });
}

/** Half of the life, 10 % of it early or late, so that a fleet started together does not stay together. */
function halfLife(holding: Holding, random: () => number): number {
  return bornAt(holding) + lifeOf(holding) * (0.4 + 0.2 * random());
}

function backoffFor(holding: Holding, random: () => number) {
  const life = lifeOf(holding);
  return createBackoff({ firstMs: clamp(life / 60, 50, 1_000), longestMs: clamp(life / 10, 100, 60_000), random });
}

function lifeOf(holding: Holding): number {
  return holding.identity.notAfter - bornAt(holding);
}

/** When it came: by then a part of its validity is over, which of a short-lived one may be more than half. */
function bornAt({ identity: { notBefore }, receivedAt = notBefore }: Holding): number {
  return Math.max(notBefore, receivedAt);
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, value));
}

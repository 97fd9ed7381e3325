// Who listens for snapshots: one stream for each instance. Changes of one event-loop turn are sent together; a slow listener skips to the
// newest snapshot and never has more than one waiting.
import type { ServerResponse } from 'node:http';
import type { Clock } from '#base/clock';
import type { Log } from '#base/log';
import { type LookEvent, type WatchEvent, watchPingMs } from '#wire';
import { fail } from './errors.ts';
import type { Snapshots } from './snapshots.ts';

export interface Watchers {
  /**
   * Takes over the response for as long as both sides live, and sends the snapshot at once. `held` is the revision that the proxy has.
   * A newer stream of the same instance ends the older one; throws WATCH_FULL.
   */
  open(o: {
    readonly instance: string;
    readonly service: string;
    readonly held: number;
    /** Whether it can be told what has changed instead of the whole. */
    readonly takesChanges: boolean;
    readonly start: () => ServerResponse;
  }): void;
  /** Something changed: every listener whose content differs gets its new snapshot in this turn of the event loop, or the next ones. */
  refresh(): void;
  /** Asks everybody to renew, some at a time, so that they do not all come at once. */
  askToRenew(): void;
  isConnected(instance: string): boolean;
  /** Sends one instance something beside its configuration; false when it is not connected or takes nothing. */
  tell(instance: string, event: LookEvent): boolean;
  connected(): Iterable<{ readonly instance: string; readonly service: string }>;
  readonly size: number;
  /** Says goodbye to everybody and ends the streams. */
  close(): void;
}

export interface WatchersOptions {
  readonly snapshots: Snapshots;
  readonly clock: Clock;
  readonly log: Log;
  readonly limit: number;
  readonly stalledMs: number;
}

interface Watcher {
  readonly instance: string;
  readonly service: string;
  readonly raw: ServerResponse;
  readonly takesChanges: boolean;
  /** The revision that it has been sent; 0 while there is none. */
  sent: number;
  /** Monotonic time since which it takes nothing; `undefined` while it does. */
  stalledSince: number | undefined;
}

/** A refresh holds the event loop for about this long before it lets others run. */
const sliceMs = 10;
const renewalsAtOnce = 50;
const renewalPauseMs = 100;
/** A proxy may be ahead of a restored server, but not by more than this: a larger number is a lie that would use the numbers up. */
const farthestAheadMs = 366 * 86_400_000;

export function createWatchers({ snapshots, clock, log, limit, stalledMs }: WatchersOptions): Watchers {
  const watchers = new Map<string, Watcher>();
  /** Those of one service are sent the same, one after the other. */
  const byService = new Map<string, Set<Watcher>>();
  let pass: 'none' | 'waiting' | 'running' = 'none';
  let isStale = false;
  let isClosed = false;
  let disarm = (): void => undefined;

  const write = (watcher: Watcher, line: Buffer): void => {
    if (watcher.raw.writableEnded || watcher.raw.destroyed) return;
    if (!watcher.raw.write(line)) watcher.stalledSince ??= clock.monotonic();
  };
  const send = (watcher: Watcher, event: WatchEvent): void => write(watcher, Buffer.from(`${JSON.stringify(event)}\n`));
  const sendNewest = (watcher: Watcher): void => {
    if (watcher.stalledSince !== undefined) return;
    const content = snapshots.current(watcher.service);
    if (!content || content.revision === watcher.sent) return;
    const isNext = watcher.takesChanges && watcher.sent !== 0 && watcher.sent === content.change?.from;
    watcher.sent = content.revision;
    write(watcher, isNext ? content.change!.line() : content.whole());
  };
  const add = (watcher: Watcher): void => {
    watchers.set(watcher.instance, watcher);
    const others = byService.get(watcher.service);
    if (others) others.add(watcher);
    else byService.set(watcher.service, new Set([watcher]));
  };
  const remove = (watcher: Watcher): void => {
    if (watchers.get(watcher.instance) === watcher) watchers.delete(watcher.instance);
    const others = byService.get(watcher.service);
    others?.delete(watcher);
    if (others?.size === 0) byService.delete(watcher.service);
  };
  const end = (watcher: Watcher): void => {
    remove(watcher);
    // What nobody reads must not wait here for as long as the connection lives.
    if (watcher.stalledSince === undefined) watcher.raw.end();
    else watcher.raw.destroy();
  };

  const refreshOne = (watcher: Watcher, done: Set<string>): void => {
    try {
      if (!done.has(watcher.service)) snapshots.refresh(watcher.service);
      done.add(watcher.service);
      sendNewest(watcher);
    } catch (thrown) {
      log.error('a snapshot could not be made; its proxies keep the old one', { service: watcher.service, thrown });
    }
  };
  /** Goes through the listeners a slice at a time. What changes meanwhile is taken up by another whole pass, so nobody starves. */
  const runPass = (left: Iterator<Watcher>, done: Set<string>): void => {
    const started = clock.monotonic();
    for (let next = left.next(); !next.done; next = left.next()) {
      refreshOne(next.value, done);
      if (clock.monotonic() - started > sliceMs) {
        setImmediate(runPass, left, done);
        return;
      }
    }
    pass = isStale ? 'waiting' : 'none';
    isStale = false;
    if (pass === 'waiting') setImmediate(startPass);
  };
  const startPass = (): void => {
    pass = 'running';
    runPass([...byService.values()].flatMap((some) => [...some])[Symbol.iterator](), new Set());
  };
  const pingAll = (): void => {
    disarm = clock.after(watchPingMs, pingAll);
    const now = clock.monotonic();
    for (const watcher of watchers.values()) {
      if (watcher.stalledSince === undefined) send(watcher, { type: 'ping' });
      else if (now - watcher.stalledSince > stalledMs) watcher.raw.destroy();
    }
  };
  pingAll();

  return {
    open({ instance, service, held, takesChanges, start }) {
      const older = watchers.get(instance);
      if (!older && watchers.size >= limit) throw fail('WATCH_FULL', { limit });
      const isPlausible = held <= clock.now() + farthestAheadMs;
      const content = snapshots.refresh(service);
      if (held > content.revision) {
        log.warn('a proxy is ahead of this server', { instance, service, held, revision: content.revision });
        if (isPlausible) snapshots.refresh(service, held);
      }
      const raw = start();
      if (older) end(older);
      const watcher: Watcher = { instance, service, raw, takesChanges, sent: 0, stalledSince: undefined };
      add(watcher);
      raw.on('drain', () => {
        watcher.stalledSince = undefined;
        sendNewest(watcher);
      });
      raw.once('close', () => remove(watcher));
      raw.on('error', () => raw.destroy());
      raw.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
      sendNewest(watcher);
    },
    refresh() {
      if (isClosed) return;
      if (pass === 'running') isStale = true;
      if (pass !== 'none') return;
      pass = 'waiting';
      setImmediate(startPass);
    },
    askToRenew() {
      const left = [...watchers.values()];
      const some = (): void => {
        for (const watcher of left.splice(0, renewalsAtOnce)) send(watcher, { type: 'renew' });
        if (left.length > 0 && !isClosed) clock.after(renewalPauseMs, some);
      };
      some();
    },
    isConnected: (instance) => watchers.has(instance),
    tell(instance, event) {
      const watcher = watchers.get(instance);
      if (!watcher || watcher.stalledSince !== undefined) return false;
      send(watcher, event);
      return true;
    },
    connected: () => watchers.values(),
    get size() {
      return watchers.size;
    },
    close() {
      isClosed = true;
      disarm();
      for (const watcher of [...watchers.values()]) {
        send(watcher, { type: 'goodbye' });
        end(watcher);
      }
    },
  };
}

// A real server or sidecar as a process of its own that says when it is ready, takes signals and is ended by its id; and a control plane
// with clients in this process.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { systemClock } from '#base/clock';
import { type Identity, parseBundle, type TrustBundle } from '#spiffe';
import { type Channel, createChannel } from '#wire/channel';
import { readAdminIdentity } from '../../cli/admin-identity.ts';
import { type Answer, type Ask, askOnce } from './control-plane.ts';
import { type Outcome, outcomeOf, type RunOptions, runPostern, spawnPostern } from './postern.ts';

export interface Process<T = Record<string, string>> {
  /** What it printed when it was ready. */
  readonly ready: T;
  readonly pid: number;
  /** What it has said on stderr so far. */
  said(): string;
  readonly outcome: Promise<Outcome>;
  signal(signal: NodeJS.Signals): void;
  /** Signals it and waits for its end. */
  stop(signal?: NodeJS.Signals): Promise<Outcome>;
}

/** Starts a server or a sidecar; when it ends before it is ready, throws an `EndedEarly`. */
export async function startProcess<T = Record<string, string>>(
  words: readonly string[],
  options: RunOptions = {},
): Promise<Process<T>> {
  const child = spawnPostern([...words, '-o', 'json'], options);
  let said = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const line = new Promise<string>((resolve) => createInterface({ input: child.stdout! }).once('line', resolve));
  const outcome = outcomeOf(child);
  const ready = await Promise.race([line, outcome]);
  if (typeof ready !== 'string') throw new EndedEarly(ready);
  return {
    ready: JSON.parse(ready) as T,
    pid: child.pid!,
    said: () => said,
    outcome,
    signal: (signal) => void child.kill(signal),
    stop(signal = 'SIGTERM') {
      child.kill(signal);
      return outcome;
    },
  };
}

export class EndedEarly extends Error {
  readonly outcome: Outcome;

  constructor(outcome: Outcome) {
    super(`it ended with ${outcome.code ?? outcome.signal} before it was ready: ${outcome.stderr}`);
    this.outcome = outcome;
  }
}

/** Makes an authority in the home; `flags` go to `ca init`. */
export async function initHome(home: string, ...flags: string[]): Promise<void> {
  const { code, stderr } = await runPostern(['ca', 'init', '--trust-domain', 'example.org', '--home', home, ...flags]);
  if (code !== 0) throw new Error(stderr);
}

export interface Clients {
  readonly admin: Channel;
  readonly adminIdentity: Identity;
  readonly bundle: TrustBundle;
  ask(request: Ask): Promise<Answer>;
  channel(identity: Identity): Channel;
  close(): void;
}

/** Speaks to the server at this url with what the home has: its bundle and its admin identity. */
export function openClients(home: string, url: string): Clients {
  const file = JSON.parse(readFileSync(join(home, 'bundle.json'), 'utf8')) as { trustDomain: string; bundle: string };
  const bundle = parseBundle(file.trustDomain, file.bundle);
  const adminIdentity = readAdminIdentity(join(home, 'admin'));
  const open: Channel[] = [];
  const channel = (identity: Identity): Channel => {
    const made = createChannel({ url, identity: () => identity, bundle: () => bundle, clock: systemClock });
    open.push(made);
    return made;
  };
  return {
    admin: channel(adminIdentity),
    adminIdentity,
    bundle,
    ask: (request) => askOnce({ url, bundle, ...request }),
    channel,
    close() {
      for (const one of open) one.close();
    },
  };
}

// What clients of a control plane were told while it was killed again and again, and the load that they make. Every entry was acknowledged,
// unless it says otherwise; what is checked against the database afterwards is this.

import { systemClock } from '#base/clock';
import { isPosternError } from '#base/error';
import { createCsr, type Identity } from '#spiffe';
import type { SvidReply, TokenReply } from '#wire';
import { enrolment, identityOf, newKey } from './control-plane.ts';
import type { Clients } from './processes.ts';

export interface Enrolled {
  readonly token: string;
  readonly key: ReturnType<typeof newKey>;
  readonly service: string;
  /** Of the enrolment; `undefined` while no answer has come. */
  identity?: Identity;
  instance?: string;
  /** Its client is done with it. */
  isLeft?: boolean;
  /** A ban of it was asked for, acknowledged or not. */
  isBanAsked?: boolean;
}

export interface Certificate {
  readonly serial: string;
  readonly instance: string;
  readonly id: string;
  readonly leaf: Buffer;
  readonly how: 'enrol' | 'renew';
}

export interface Ledger {
  readonly enrolled: Enrolled[];
  readonly certificates: Certificate[];
  readonly bans: { readonly id?: string; readonly serial?: string }[];
  readonly policies: { readonly name: string; readonly paths: string; readonly revision: number }[];
  /** Answers that no client should have got. */
  readonly wrong: string[];
}

export function createLedger(): Ledger {
  return { enrolled: [], certificates: [], bans: [], policies: [], wrong: [] };
}

/** Tokens, enrolments, renewals, bans and policies from four clients at once, until the server is gone. */
export async function makeLoad(ledger: Ledger, clients: Clients, round: number): Promise<void> {
  let isGone = false;
  const until = async (work: (n: number) => Promise<void>): Promise<void> => {
    for (let n = 0; !isGone; n++) {
      await work(n).catch((thrown: unknown) => {
        if (isPosternError(thrown) && thrown.code !== 'CONTROL_UNREACHABLE') ledger.wrong.push(String(thrown));
        isGone = true;
      });
    }
  };
  await Promise.all([
    until((n) => joinAndRenew(ledger, clients, `one-${round}-${n % 3}`)),
    until((n) => joinAndRenew(ledger, clients, `two-${round}-${n % 3}`)),
    until((n) => ban(ledger, clients, { round, n })),
    until((n) => apply(ledger, clients, { round, n })),
  ]);
}

async function joinAndRenew(ledger: Ledger, clients: Clients, service: string): Promise<void> {
  const body = { version: 1, service };
  const { token } = await clients.admin.call<TokenReply>({ method: 'POST', path: '/v1/tokens', body });
  const entry: Enrolled = { token, key: newKey(), service: `spiffe://example.org/${service}` };
  ledger.enrolled.push(entry);
  await enrol(ledger, clients, entry);
  const key = newKey();
  const csr = Buffer.from(createCsr(key)).toString('base64');
  const renewal = { version: 1, csr };
  const answer = await clients.ask({ method: 'POST', path: '/v1/renew', identity: entry.identity, body: renewal });
  if (answer.status === 200) note(ledger, 'renew', answer.body as unknown as SvidReply, key);
  else ledger.wrong.push(`renewal of ${service}: ${answer.status} ${JSON.stringify(answer.body)}`);
  entry.isLeft = true;
}

/** Asks for the identity of an entry, for the first time or again; what it got before it must get again. */
export async function enrol(ledger: Ledger, clients: Clients, entry: Enrolled): Promise<void> {
  const { status, body } = await clients.ask(enrolment(entry));
  if (status !== 200) {
    ledger.wrong.push(`enrolment of ${entry.service}: ${status} ${JSON.stringify(body)}`);
    return;
  }
  const identity = identityOf(body as unknown as SvidReply, entry.key);
  if (entry.identity !== undefined) {
    const isSame = Buffer.compare(entry.identity.chain[0]!, identity.chain[0]!) === 0;
    if (!isSame) ledger.wrong.push(`${entry.service} got another certificate for the same token and key`);
    return;
  }
  entry.identity = identity;
  entry.instance = (body as unknown as SvidReply).instance;
  note(ledger, 'enrol', body as unknown as SvidReply, entry.key);
}

function note(ledger: Ledger, how: Certificate['how'], reply: SvidReply, key: ReturnType<typeof newKey>): void {
  const { id, serial, chain } = identityOf(reply, key);
  ledger.certificates.push({ serial, instance: reply.instance, id: id.uri, leaf: Buffer.from(chain[0]!), how });
}

/** In turn a service that nobody has, and the certificate of an instance that will not be asked for again. */
async function ban(ledger: Ledger, clients: Clients, { round, n }: { round: number; n: number }): Promise<void> {
  const victim = ledger.enrolled.find((entry) => entry.isLeft && !entry.isBanAsked);
  const target =
    n % 2 === 1 && victim ? { serial: victim.identity!.serial } : { id: `spiffe://example.org/nobody-${round}-${n}` };
  if ('serial' in target) victim!.isBanAsked = true;
  await clients.admin.call({ method: 'POST', path: '/v1/bans', body: { version: 1, ...target } });
  ledger.bans.push(target);
  await new Promise((resolve) => systemClock.after(15, () => resolve(undefined)));
}

async function apply(ledger: Ledger, clients: Clients, { round, n }: { round: number; n: number }): Promise<void> {
  const name = `policy-${n % 4}`;
  const paths = `/${round}/${n}`;
  const rules = [{ id: 'r', effect: 'allow', from: ['one'], paths: [paths] }];
  const resources = [{ resource: { kind: 'Policy', name, to: 'two', rules } }];
  const { revision } = await clients.admin.call<{ revision: number }>({
    method: 'POST',
    path: '/v1/resources',
    body: { version: 1, resources },
  });
  ledger.policies.push({ name, paths, revision });
  await new Promise((resolve) => systemClock.after(15, () => resolve(undefined)));
}

// The certificate authority of a home: through its server when one runs, else opened here. Changes made here reach the event log too.
import { join } from 'node:path';
import { isPosternError } from '#base/error';
import { createLog } from '#base/log';
import type { Authority } from '#ca';
import type { Api, CliContext } from './context.ts';
import { fail } from './errors.ts';
import { hasAuthority, readHomeServer } from './home.ts';

export interface AuthorityWork<T> {
  readonly api: (api: Api) => Promise<T>;
  readonly direct: (authority: Authority) => T | Promise<T>;
  readonly passphrase?: Buffer | undefined;
}

/** A server named by --server or POSTERN_SERVER is the only one asked; a home whose server is away is worked on directly. */
export async function withAuthority<T>(context: CliContext, { api, direct, passphrase }: AuthorityWork<T>): Promise<T> {
  const home = context.home();
  const named = context.options.server ?? context.env.POSTERN_SERVER;
  const local = named === undefined && hasAuthority(home);
  if (local && !isServerAlive(home)) return withLocalAuthority(context, { passphrase }, direct);
  try {
    return await context.withApi(api);
  } catch (thrown) {
    if (!local || !isPosternError(thrown, 'CONTROL_UNREACHABLE')) throw thrown;
    return withLocalAuthority(context, { passphrase }, direct);
  }
}

/** Opens the authority of the home for one piece of work. */
export async function withLocalAuthority<T>(
  context: CliContext,
  { passphrase }: { passphrase?: Buffer | undefined },
  work: (authority: Authority) => T | Promise<T>,
): Promise<T> {
  const { clock, output } = context;
  const home = context.home();
  if (!hasAuthority(home))
    throw fail('CLI_NOT_FOUND', {
      what: 'certificate authority in',
      name: home,
      fix: 'make one with: postern ca init --trust-domain NAME',
    });
  const [{ openAuthority }, { openRecordStore }] = await Promise.all([import('#ca'), import('#audit')]);
  const events = openRecordStore({ path: join(home, 'audit.db'), clock });
  const log = createLog({ level: 'warn', now: () => clock.now(), write: (line) => output.log(line) });
  try {
    const authority = await openAuthority({
      home,
      clock,
      log,
      onEvent: (event) => void events.addEvent(event),
      ...(passphrase === undefined ? {} : { passphrase }),
    });
    try {
      return await work(authority);
    } finally {
      authority.close();
    }
  } finally {
    events.close();
  }
}

/** Whether the process that wrote server.json is still there; another process may have its number by now, so true is only a hint. */
function isServerAlive(home: string): boolean {
  try {
    const server = readHomeServer(home);
    if (!server) return false;
    process.kill(server.pid, 0);
    return true;
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === 'EPERM';
  }
}

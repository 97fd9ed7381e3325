// `postern identity`: who there is, and shutting one out.
import { randomBytes } from 'node:crypto';
import type { Command } from 'commander';
import { writeFileAtomic } from '#base/files';
import { suggest } from '#base/suggest';
import { type Ban, type IdentityStatus, wireVersion } from '#wire';
import type { Api, CliContext } from '../context.ts';
import { fail } from '../errors.ts';
import { examples } from '../help.ts';
import { fullId, shortId } from '../names.ts';
import { readPassphrase } from '../process.ts';
import { left, utc } from '../when.ts';

interface ExportOptions {
  readonly pkcs12: string;
  readonly passwordFile?: string;
}

export function register(program: Command, context: CliContext): void {
  const identity = program.command('identity').description('show identities, ban and unban them, export one');
  examples(
    identity,
    'postern identity list',
    'postern identity show shop/web',
    'postern identity ban shop/web --reason "laptop lost"',
  );

  const list = identity
    .command('list')
    .description('show every identity ever issued')
    .action(() => runList(context));
  examples(list, 'postern identity list', 'postern identity list -o json');

  const show = identity
    .command('show')
    .description('show the certificates of one identity')
    .argument('<ID>', 'a service or a SPIFFE ID')
    .action((id: string) => runShow(context, id));
  examples(show, 'postern identity show shop/web');

  const ban = identity
    .command('ban')
    .description('shut an identity out: it gets no new certificate, and its connections are cut')
    .argument('<ID>', 'a service, a SPIFFE ID, or serial:HEX for one certificate and those renewed from it')
    .option('--reason <TEXT>', 'why, for the event log')
    .action((id: string, options: { reason?: string }) => runBan(context, { what: 'bans', id, ...options }));
  examples(ban, 'postern identity ban shop/web --reason "laptop lost"', 'postern identity ban serial:3fa9c2');

  const unban = identity
    .command('unban')
    .description('let a banned identity in again')
    .argument('<ID>', 'as it was banned')
    .action((id: string) => runBan(context, { what: 'unbans', id }));
  examples(unban, 'postern identity unban shop/web');

  const bans = identity
    .command('bans')
    .description('show every ban')
    .action(() => runBans(context));
  examples(bans, 'postern identity bans');

  const exported = identity
    .command('export')
    .description('write the identity of a sidecar home as a key store, for clients that need one')
    .requiredOption('--pkcs12 <FILE>', 'where to write it')
    .option('--password-file <FILE>', 'a file with its password; without one a password is made and printed')
    .action((options: ExportOptions) => runExport(context, options));
  examples(exported, 'postern identity export --home /var/lib/postern --pkcs12 web.p12 --password-file pass.txt');
}

async function runList(context: CliContext): Promise<void> {
  const now = context.clock.now();
  const identities = await context.withApi(readIdentities);
  context.output.data(
    { identities },
    {
      columns: ['IDENTITY', 'STATE', 'INSTANCES', 'CERTIFICATE', 'SERIAL'],
      rows: identities.map(({ id, banned, instances, certificates: [newest] }) => [
        id,
        banned
          ? { text: 'banned', tone: 'bad' }
          : newest && newest.notAfter > now
            ? { text: 'active', tone: 'good' }
            : { text: 'expired', tone: 'dim' },
        instances,
        newest && left({ ...newest, now }),
        newest?.serial,
      ]),
      empty: 'no identities yet: postern token create SERVICE lets one join',
    },
  );
}

async function runShow(context: CliContext, id: string): Promise<void> {
  const now = context.clock.now();
  const found = await context.withApi(async (api) => {
    const uri = fullId(id, api.trustDomain);
    const identities = await readIdentities(api);
    const one = identities.find((each) => each.id === uri);
    if (one) return one;
    const near = suggest(
      shortId(uri, api.trustDomain),
      identities.map((each) => shortId(each.id, api.trustDomain)),
    );
    throw fail('CLI_NOT_FOUND', {
      what: 'identity',
      name: uri,
      fix: near ? `did you mean ${near}?` : 'see: postern identity list',
    });
  });
  context.output.say(`${found.id}${found.banned ? ', banned' : ''}`);
  context.output.data(found, {
    columns: ['SERIAL', 'INSTANCE', 'STATE', 'NOT BEFORE', 'NOT AFTER', 'LEFT'],
    rows: found.certificates.map((one) => [
      one.serial,
      one.instance,
      one.banned
        ? { text: 'banned', tone: 'bad' }
        : one.notAfter > now
          ? { text: 'active', tone: 'good' }
          : { text: 'expired', tone: 'dim' },
      utc(one.notBefore),
      utc(one.notAfter),
      left({ ...one, now }),
    ]),
    empty: 'no certificates',
  });
}

async function runBan(
  context: CliContext,
  { what, id, reason }: { what: 'bans' | 'unbans'; id: string; reason?: string },
): Promise<void> {
  const { output } = context;
  const { bans, subject } = await context.withApi(async (api) => {
    const serial = /^serial:([0-9a-fA-F:]+)$/.exec(id)?.[1]?.replaceAll(':', '').toLowerCase();
    const target = serial === undefined ? { id: fullId(id, api.trustDomain) } : { serial };
    const subject = target.id ?? `serial ${serial}`;
    if (what === 'unbans') await assertBanned(api, target, subject);
    const body = { version: wireVersion, ...target, ...(reason === undefined ? {} : { reason }) };
    const reply = await api.call<{ bans: readonly Ban[] }>({ method: 'POST', path: `/v1/${what}`, body });
    return { ...reply, subject };
  });
  const renewals = what === 'bans' ? renewalsAmong(bans, subject) : 0;
  const also = renewals === 0 ? '' : `, and ${renewals} renewed from it`;
  output.data({ bans }, `${subject} ${what === 'bans' ? 'banned' : 'unbanned'}${also}`);
  output.next(
    what === 'bans' ? `postern identity unban ${id}` : 'postern identity list',
    what === 'bans' ? 'lets it in again' : undefined,
  );
}

/** How many certificates were banned together with this one. */
function renewalsAmong(bans: readonly Ban[], subject: string): number {
  const own = bans.find(({ serial }) => serial !== undefined && subject === `serial ${serial}`);
  return own
    ? bans.filter(({ serial, at }) => serial !== undefined && serial !== own.serial && at === own.at).length
    : 0;
}

/** Throws `CLI_NOT_FOUND`: to say that somebody is let in again who was never shut out would hide a slip of the hand. */
async function assertBanned(api: Api, target: { id?: string; serial?: string }, subject: string): Promise<void> {
  const bans = await readBans(api);
  if (bans.some(({ id, serial }) => id === target.id && serial === target.serial)) return;
  throw fail('CLI_NOT_FOUND', { what: 'ban of', name: subject, fix: 'see: postern identity bans' });
}

async function runBans(context: CliContext): Promise<void> {
  const bans = await context.withApi(readBans);
  context.output.data(
    { bans },
    {
      columns: ['BANNED', 'SINCE', 'BY', 'REASON'],
      rows: bans.map((ban) => [ban.id ?? `serial:${ban.serial}`, utc(ban.at), ban.by, ban.reason]),
      empty: 'nobody is banned',
    },
  );
}

async function runExport(context: CliContext, { pkcs12, passwordFile }: ExportOptions): Promise<void> {
  const { output } = context;
  const { readSidecarIdentity } = await import('../sidecar-home.ts');
  const { identity, bundle } = readSidecarIdentity(context.home());
  const given = readPassphrase({ file: passwordFile })?.toString();
  const password = given ?? randomBytes(15).toString('base64url');
  const { exportPkcs12 } = await import('#ca');
  const name = identity.id.service;
  writeFileAtomic(pkcs12, await exportPkcs12({ identity, bundle, password, name }));
  const made = {
    file: pkcs12,
    id: identity.id.uri,
    notAfter: identity.notAfter,
    ...(given === undefined ? { password } : {}),
  };
  output.data(made, given === undefined ? `${pkcs12}\npassword ${password}` : pkcs12);
  output.say(`${identity.id.uri}, good until ${utc(identity.notAfter)}`);
}

async function readIdentities(api: Api): Promise<readonly IdentityStatus[]> {
  const { identities } = await api.call<{ identities: readonly IdentityStatus[] }>({
    method: 'GET',
    path: '/v1/identities',
  });
  return [...identities].sort((a, b) => (a.id < b.id ? -1 : 1));
}

async function readBans(api: Api): Promise<readonly Ban[]> {
  const { bans } = await api.call<{ bans: readonly Ban[] }>({ method: 'GET', path: '/v1/bans' });
  return bans;
}

// `postern ca`: the certificate authority: make it, look at it, rotate it, and hand out admin identities.
import { userInfo } from 'node:os';
import type { Command } from 'commander';
import { formatDuration, parseDuration } from '#base/duration';
import type { CaStatus } from '#wire';
import { withAuthority, withLocalAuthority } from '../authority.ts';
import type { CliContext } from '../context.ts';
import { fail } from '../errors.ts';
import { examples } from '../help.ts';
import { readPassphrase } from '../process.ts';

interface PassphraseOptions {
  readonly passphraseFile?: string;
  readonly passphraseFd?: string;
}

interface InitOptions extends PassphraseOptions {
  readonly trustDomain: string;
  readonly admin?: string;
  readonly rootCert?: string;
  readonly rootKey?: string;
  readonly rootPassphraseFile?: string;
  readonly svidTtl?: string;
  readonly issuingTtl?: string;
  readonly rootTtl?: string;
  readonly adminTtl?: string;
  readonly backdate?: string;
}

export function register(program: Command, context: CliContext): void {
  const ca = program.command('ca').description('make, show and rotate the certificate authority');
  examples(ca, 'postern ca init --trust-domain example.org', 'postern ca status', 'postern ca rotate');

  const init = withPassphrase(ca.command('init'))
    .description('make a certificate authority and an admin identity in the home')
    .requiredOption('--trust-domain <NAME>', 'the name that every identity begins with, such as example.org')
    .option('--admin <NAME>', 'name of the first admin identity (default: your user name)')
    .option('--root-cert <FILE>', 'use this root certificate (PEM) instead of making one')
    .option('--root-key <FILE>', 'its private key (PEM)')
    .option('--root-passphrase-file <FILE>', 'a file with the passphrase of --root-key')
    .option('--svid-ttl <DURATION>', 'life of an identity (default 1h)')
    .option('--issuing-ttl <DURATION>', 'life of an issuing CA, which rotates by itself (default 7d)')
    .option('--root-ttl <DURATION>', 'life of the root (default 3650d)')
    .option('--admin-ttl <DURATION>', 'life of an admin identity, which renews in use (default 24h)')
    .option(
      '--backdate <DURATION>',
      'how far the clocks of machines may be apart: certificates are valid from this long before (default 30s)',
    )
    .action((options: InitOptions) => runInit(context, options));
  examples(
    init,
    'postern ca init --trust-domain example.org',
    'postern ca init --trust-domain example.org --passphrase-file /run/secrets/root   # the root key is encrypted',
    'postern ca init --trust-domain example.org --root-cert root.pem --root-key root.key',
  );

  const status = withPassphrase(ca.command('status'))
    .description('show roots, issuing CAs, lives and rotations')
    .action((options: PassphraseOptions) => runStatus(context, options));
  examples(status, 'postern ca status', 'postern ca status -o json');

  const show = withPassphrase(ca.command('show'))
    .description('show every CA certificate')
    .option('--pem', 'the root certificates as PEM, for other tools')
    .action((options: PassphraseOptions & { pem?: boolean }) => runShow(context, options));
  examples(show, 'postern ca show', 'postern ca show --pem > roots.pem');

  const rotate = withPassphrase(ca.command('rotate'))
    .description('make a new issuing CA now, or begin to replace the root')
    .option('--root', 'replace the root: the new one is in every bundle before it is used')
    .action((options: PassphraseOptions & { root?: boolean }) => runRotate(context, options));
  examples(rotate, 'postern ca rotate', 'postern ca rotate --root');

  const admin = withPassphrase(ca.command('admin'))
    .description('issue an admin identity, on the host of the authority')
    .argument('[NAME]', 'who it is for (default: your user name)')
    .option('--out <DIR>', 'where to write key.pem and svid.pem (default: the admin folder of the home)')
    .action((name: string | undefined, options: PassphraseOptions & { out?: string }) =>
      runAdmin(context, { ...options, name: name ?? userName(context) }),
    );
  examples(
    admin,
    'postern ca admin',
    'postern ca admin alice --out /tmp/alice   # copy it to ~/.postern/admin of alice',
  );
}

async function runInit(context: CliContext, options: InitOptions): Promise<void> {
  const { output, clock } = context;
  const home = context.home();
  const name = options.admin ?? userName(context);
  const root = await rootOf(options);
  const passphrase = passphraseOf(options);
  const settings = {
    ...ttl('svidTtlMs', '--svid-ttl', options.svidTtl),
    ...ttl('issuingTtlMs', '--issuing-ttl', options.issuingTtl),
    ...ttl('rootTtlMs', '--root-ttl', options.rootTtl),
    ...ttl('adminTtlMs', '--admin-ttl', options.adminTtl),
    ...ttl('backdateMs', '--backdate', options.backdate),
  };
  const { initHome } = await import('../init-home.ts');
  const made = await initHome({
    home,
    clock,
    trustDomain: options.trustDomain,
    admin: name,
    settings,
    ...(passphrase === undefined ? {} : { passphrase }),
    ...(root === undefined ? {} : { root }),
  });
  const lines = [
    `trust domain   ${made.trustDomain}`,
    `home           ${home}`,
    `root           ${made.fingerprint}   until ${day(made.rootNotAfter)}, key ${made.rootKey}`,
    `admin          ${made.admin}   until ${time(made.adminNotAfter)}, renewed by use`,
  ];
  output.data(made, lines.join('\n'));
  output.next('postern server');
}

async function runStatus(context: CliContext, options: PassphraseOptions): Promise<void> {
  const { output } = context;
  const status = await readStatus(context, options);
  const { trustDomain, rootKey, rootRotation, settings, warnings } = status;
  const now = context.clock.now();
  const { phase, waitingFor } = rootRotation;
  const line = (label: string, text: string): string => `${label.padEnd(15)}${text}`;
  const ca = (kind: string) => (one: CaStatus['roots'][number]) =>
    line(kind, `${one.fingerprint.slice(0, 23)}   ${one.state}, ${left(one.notAfter, now)}`);
  output.data(
    status,
    [
      line('trust domain', trustDomain),
      ...status.roots.map(ca('root')),
      ...status.issuing.map(ca('issuing')),
      line('root key', rootKey),
      line(
        'root rotation',
        phase === 'stable' ? 'none under way' : `${phase}${waitingFor ? `, waiting for ${waitingFor}` : ''}`,
      ),
      line(
        'lives',
        `identities ${formatDuration(settings.svidTtlMs)}, issuing CA ${formatDuration(settings.issuingTtlMs)}, admin ${formatDuration(settings.adminTtlMs)}`,
      ),
    ].join('\n'),
  );
  for (const warning of warnings) output.warn(warning);
}

async function runShow(context: CliContext, options: PassphraseOptions & { pem?: boolean }): Promise<void> {
  const { output } = context;
  const { roots, issuing } = await readStatus(context, options);
  if (options.pem) return output.raw(roots.map(({ pem }) => (pem.endsWith('\n') ? pem : `${pem}\n`)).join(''));
  const row = (kind: string) => (one: CaStatus['roots'][number]) => [
    kind,
    one.state,
    one.subject,
    one.serial,
    time(one.notBefore),
    time(one.notAfter),
    one.fingerprint,
  ];
  output.data(
    { roots, issuing },
    {
      columns: ['KIND', 'STATE', 'SUBJECT', 'SERIAL', 'NOT BEFORE', 'NOT AFTER', 'SHA-256'],
      rows: [...roots.map(row('root')), ...issuing.map(row('issuing'))],
    },
  );
}

async function runRotate(context: CliContext, options: PassphraseOptions & { root?: boolean }): Promise<void> {
  const what = options.root ? 'root' : 'issuing';
  const { wireVersion } = await import('#wire');
  const status = await withAuthority<CaStatus>(context, {
    passphrase: passphraseOf(options),
    api: (api) => api.call({ method: 'POST', path: '/v1/ca/rotate', body: { version: wireVersion, what } }),
    direct: async (authority) => {
      await (what === 'root' ? authority.rotateRoot({ by: 'local' }) : authority.rotateIssuing({ by: 'local' }));
      return authority.status();
    },
  });
  const active = (what === 'root' ? status.roots : status.issuing).map(
    (one) => `${one.fingerprint.slice(0, 23)} ${one.state}`,
  );
  const waiting = status.rootRotation.waitingFor;
  context.output.data(
    status,
    `${what === 'root' ? 'root rotation begun' : 'issuing CA rotated'}: ${active.join(', ')}${what === 'root' && waiting ? `\nwaiting for ${waiting}` : ''}`,
  );
  context.output.next('postern ca status');
}

async function runAdmin(
  context: CliContext,
  options: PassphraseOptions & { name: string; out?: string },
): Promise<void> {
  const { adminFolder } = await import('../home.ts');
  const { issueAdmin } = await import('../init-home.ts');
  const folder = options.out ?? adminFolder(context.home());
  const made = await withLocalAuthority(context, { passphrase: passphraseOf(options) }, (authority) =>
    issueAdmin({ authority, name: options.name, folder }),
  );
  context.output.data(
    { admin: made.id.uri, folder, notAfter: made.notAfter },
    `${made.id.uri} until ${time(made.notAfter)}, renewed by use\n${folder}/key.pem\n${folder}/svid.pem`,
  );
  if (options.out === undefined) context.output.next('postern status');
  else
    context.output.say(
      `copy ${folder} to ~/.postern/admin, and ${context.home()}/bundle.json to ~/.postern, of whoever it is for`,
    );
}

function readStatus(context: CliContext, options: PassphraseOptions): Promise<CaStatus> {
  return withAuthority<CaStatus>(context, {
    passphrase: passphraseOf(options),
    api: (api) => api.call({ method: 'GET', path: '/v1/ca' }),
    direct: (authority) => authority.status(),
  });
}

async function rootOf({ rootCert, rootKey, rootPassphraseFile }: InitOptions) {
  if (rootCert === undefined && rootKey === undefined) return undefined;
  if (rootCert === undefined || rootKey === undefined)
    throw fail('CLI_USAGE', {
      problem: '--root-cert and --root-key go together',
      fix: 'give both, or neither to have a root made',
    });
  const { readFileOrFail, readPrivateFile } = await import('#base/files');
  const passphrase = readPassphrase({ file: rootPassphraseFile });
  return {
    certificatePem: readFileOrFail(rootCert).toString(),
    keyPem: readPrivateFile(rootKey).toString(),
    ...(passphrase === undefined ? {} : { passphrase }),
  };
}

function withPassphrase(command: Command): Command {
  return command
    .option('--passphrase-file <FILE>', 'a file with the passphrase of the root key')
    .option('--passphrase-fd <NUMBER>', 'an open file descriptor to read that passphrase from');
}

function passphraseOf({ passphraseFile, passphraseFd }: PassphraseOptions): Buffer | undefined {
  if (passphraseFd !== undefined && !/^[0-9]{1,4}$/.test(passphraseFd))
    throw fail('CLI_USAGE', {
      problem: `--passphrase-fd ${passphraseFd} is not a file descriptor`,
      fix: 'such as: --passphrase-fd 3 3< secret',
    });
  return readPassphrase({ file: passphraseFile, fd: passphraseFd === undefined ? undefined : Number(passphraseFd) });
}

function ttl<K extends string>(key: K, flag: string, text: string | undefined): Partial<Record<K, number>> {
  if (text === undefined) return {};
  const ms = parseDuration(text);
  if (ms === undefined || ms < 1_000)
    throw fail('CLI_USAGE', {
      problem: `${flag} ${text} is not a duration of a second or more`,
      fix: 'such as 90s, 30m, 12h or 7d',
    });
  return { [key]: ms } as Partial<Record<K, number>>;
}

/** The user's name as far as a SPIFFE ID can hold it: the audit log then says who did what. */
function userName({ env }: CliContext): string {
  let name = env.SUDO_USER ?? env.USER ?? env.LOGNAME;
  try {
    name ??= userInfo().username;
  } catch {
    // No entry in the user database.
  }
  return (name ?? '').replace(/[^a-zA-Z0-9._-]/g, '').replace(/^\.+$/, '') || 'admin';
}

function left(notAfter: number, now: number): string {
  return notAfter > now ? `${formatDuration(notAfter - now)} left` : `expired ${formatDuration(now - notAfter)} ago`;
}

function time(ms: number): string {
  return new Date(ms).toISOString().replace('.000Z', 'Z');
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

// Checks of this machine and this home, without any server.
import { accessSync, constants, existsSync, readdirSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { formatDuration } from '#base/duration';
import type { CaStatus } from '#wire';
import { readAdminIdentity } from '../admin-identity.ts';
import type { CliContext } from '../context.ts';
import { adminFolder, hasAuthority } from '../home.ts';
import { ask, type Check, type CheckCategory, failure, warning } from './check.ts';

const dayMs = 86_400_000;
const rootWarningMs = 60 * dayMs;

/** Node, and ports that are free before anything runs. */
export async function checkMachine({ pre }: { pre: boolean }): Promise<CheckCategory> {
  const major = Number(process.versions.node.split('.')[0]);
  const checks = [
    await ask('Node is 24 or newer', () =>
      major >= 24 ? undefined : failure(`this is Node ${process.versions.node}`, 'install Node 24 or newer'),
    ),
  ];
  const ports = {
    8443: 'server',
    15008: 'sidecar inbound',
    15001: 'sidecar outbound',
    15000: 'sidecar admin',
    15020: 'sidecar metrics',
  };
  if (pre) for (const [port, use] of Object.entries(ports)) checks.push(await checkPort(Number(port), use));
  return { categoryName: 'this machine', checks };
}

function checkPort(port: number, use: string): Promise<Check> {
  return ask(`port ${port} is free (${use})`, async () => {
    const code = await new Promise<string | undefined>((resolve) => {
      const server = createServer();
      server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
      server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(undefined)));
    });
    return code === undefined
      ? undefined
      : warning(`it is taken (${code})`, `give the ${use.split(' ')[0]} another port by its flags`);
  });
}

/** The folder, who can read it, and the admin identity in it. */
export async function checkHome(context: CliContext): Promise<CheckCategory> {
  const home = context.home();
  const now = context.clock.now();
  const checks: Check[] = [
    await ask(`${home} exists`, () =>
      existsSync(home)
        ? undefined
        : failure('there is no such folder', 'make an authority with: postern ca init --trust-domain NAME'),
    ),
  ];
  if (!existsSync(home)) return { categoryName: 'home', checks };
  checks.push(
    await ask('this user may write to it', () => {
      accessSync(home, constants.W_OK);
      return undefined;
    }),
    await ask('nobody else can read its secrets', () => {
      const [exposed] = secretsIn(home).filter((path) => statSync(path).mode & 0o077);
      return exposed === undefined
        ? undefined
        : failure(`${exposed} can be read by others`, `run: chmod 600 ${exposed}`);
    }),
    await ask('the admin identity is good', () => {
      const identity = readAdminIdentity(adminFolder(home));
      const left = identity.notAfter - now;
      if (identity.notBefore > now)
        return failure(`it begins in ${formatDuration(identity.notBefore - now)}`, 'set the clock of this machine');
      const name = identity.id.service.split('/').pop();
      if (left <= 0)
        return failure(
          `it expired ${formatDuration(-left)} ago`,
          `on the host of the authority run: postern ca admin ${name}`,
        );
      return left < (identity.notAfter - identity.notBefore) / 10
        ? warning(`${formatDuration(left)} left`, 'any command that talks to the server renews it')
        : undefined;
    }),
  );
  return { categoryName: 'home', checks };
}

/** The lives of the roots and issuing CAs. */
export async function checkAuthority(status: () => Promise<CaStatus>, now: number): Promise<CheckCategory> {
  let known: CaStatus | undefined;
  const checks: Check[] = [
    await ask('the certificate authority can be read', async () => {
      known = await status();
      return undefined;
    }),
  ];
  if (!known) return { categoryName: 'certificate authority', checks };
  const { roots, issuing, warnings } = known;
  for (const root of roots) {
    checks.push(
      await ask(`root ${root.fingerprint.slice(0, 11)} is good for 60 days or more (${root.state})`, () => {
        const left = root.notAfter - now;
        if (left <= 0) return failure(`it expired ${formatDuration(-left)} ago`, 'postern ca rotate --root');
        return left < rootWarningMs && root.state !== 'retiring'
          ? warning(`${formatDuration(left)} left`, 'replace it in time: postern ca rotate --root')
          : undefined;
      }),
    );
  }
  checks.push(
    await ask('an issuing CA is active and will be replaced in time', () => {
      const active = issuing.filter(
        ({ state, notBefore, notAfter }) => state === 'active' && notBefore <= now && notAfter > now,
      );
      const [newest] = active.sort((a, b) => b.notAfter - a.notAfter);
      if (!newest) return failure('none is active', 'start the server, which makes one; or: postern ca rotate');
      // A running server has replaced it before the last sixth of its life.
      const late = newest.notAfter - now < (newest.notAfter - newest.notBefore) / 6;
      return late
        ? warning(
            `${formatDuration(newest.notAfter - now)} left and no other is active`,
            'is the server running, and its root key there?',
          )
        : undefined;
    }),
    ...(await Promise.all(warnings.map((text) => ask('the authority raises no alarm', () => warning(text))))),
  );
  return { categoryName: 'certificate authority', checks };
}

/** Files that hold a key or what is as good as one. */
function secretsIn(home: string): string[] {
  const gateways = existsSync(join(home, 'gateway')) ? readdirSync(join(home, 'gateway')) : [];
  const folders = [
    ...(hasAuthority(home) ? ['ca'] : []),
    'admin',
    'sidecar',
    ...gateways.map((name) => join('gateway', name)),
  ].map((name) => join(home, name));
  const keys = folders.flatMap((folder) =>
    existsSync(folder)
      ? readdirSync(folder, { withFileTypes: true })
          .filter((entry) => entry.isFile() && /key/.test(entry.name))
          .map((entry) => join(folder, entry.name))
      : [],
  );
  return [...keys, ...['postern.db', 'audit.db'].map((name) => join(home, name)).filter((path) => existsSync(path))];
}

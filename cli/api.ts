// The control plane's API in the name of the home's admin: which server, which identity, and keeping that identity alive while it is used.
// It never asks for a new identity with an expired one, and never trusts a server that the home's bundle does not.
import { formatDuration } from '#base/duration';
import { createCsr, createKeyPair, type Identity, type TrustBundle } from '#spiffe';
import { type BundleReply, svidReply, wireVersion } from '#wire';
import { type Channel, createChannel } from '#wire/channel';
import { readAdminIdentity, renewAlone, saveAdminIdentity } from './admin-identity.ts';
import type { Api, CliContext } from './context.ts';
import { fail } from './errors.ts';
import { adminFolder, isBundleDue, readHomeBundle, readHomeServer, saveHomeBundle, serverPath } from './home.ts';

export interface OpenApi extends Api {
  close(): Promise<void>;
}

/** How often the bundle is looked at again, by use. */
const bundleEveryMs = 60_000;
/** A server a little behind or ahead in time must not turn a live identity away. */
const clockSlackMs = 5_000;

/** Throws `CLI_NO_SERVER`, `CLI_NO_IDENTITY`, `CLI_IDENTITY_EXPIRED`, `CLI_NO_BUNDLE`, before anything is sent. */
export async function openApi(context: CliContext): Promise<OpenApi> {
  const home = context.home();
  const url = serverUrl(context);
  const bundle = readHomeBundle(home);
  const held = liveIdentity(home, context.clock.now());
  const identity = (await renewed({ context, home, url, bundle, held })) ?? held;
  const channel = channelFor({ context, url, bundle, identity });
  return {
    url,
    trustDomain: bundle.trustDomain,
    call: channel.call,
    stream: channel.stream,
    async close() {
      await refreshBundle({ context, home, channel });
      channel.close();
    },
  };
}

/** `--server`, POSTERN_SERVER, or the server of the home; an https origin. */
export function serverUrl(context: CliContext): string {
  const chosen = context.options.server ?? context.env.POSTERN_SERVER;
  if (chosen === undefined) {
    const server = readHomeServer(context.home());
    if (!server) throw fail('CLI_NO_SERVER', { path: serverPath(context.home()) });
    return server.url;
  }
  const url = chosen.includes('://') ? chosen : `https://${chosen}`;
  if (!URL.canParse(url) || new URL(url).protocol !== 'https:' || new URL(url).pathname !== '/')
    throw fail('CLI_USAGE', { problem: `${chosen} is not a server`, fix: 'write https://HOST:PORT or HOST:PORT' });
  return new URL(url).origin;
}

function liveIdentity(home: string, now: number): Identity {
  const identity = readAdminIdentity(adminFolder(home));
  if (identity.notAfter <= now) {
    const name = identity.id.service.replace(/^postern\/admin\//, '');
    throw fail('CLI_IDENTITY_EXPIRED', { id: identity.id.uri, ago: formatDuration(now - identity.notAfter), name });
  }
  return identity;
}

interface Renewal {
  readonly context: CliContext;
  readonly home: string;
  readonly url: string;
  readonly bundle: TrustBundle;
  readonly held: Identity;
}

/** A fresh identity when half of the held one's life is over; `undefined` when it is young, or when the server cannot give one now. */
async function renewed({ context, home, url, bundle, held }: Renewal): Promise<Identity | undefined> {
  const now = context.clock.now();
  if (now < (held.notBefore + held.notAfter) / 2 || held.notAfter - now < clockSlackMs) return undefined;
  const folder = adminFolder(home);
  return renewAlone({ folder, now }, async () => {
    const pair = createKeyPair();
    const channel = channelFor({ context, url, bundle, identity: held });
    try {
      const csr = Buffer.from(createCsr(pair)).toString('base64');
      const body = { version: wireVersion, csr };
      const reply = await channel.call({ method: 'POST', path: '/v1/renew', body, reply: svidReply });
      const chain = reply.chain.map((der) => Buffer.from(der, 'base64'));
      saveAdminIdentity(folder, { key: pair.privateKey, chain });
      return readAdminIdentity(folder);
    } catch (thrown) {
      // The command itself will say when the server is away; a refused renewal is worth a word now.
      if ((thrown as { code?: string }).code !== 'CONTROL_UNREACHABLE')
        context.output.warn(`the admin identity could not be renewed: ${(thrown as Error).message}`);
      return undefined;
    } finally {
      channel.close();
    }
  });
}

function channelFor(o: { context: CliContext; url: string; bundle: TrustBundle; identity: Identity }): Channel {
  const { url, context, bundle, identity } = o;
  return createChannel({ url, identity: () => identity, bundle: () => bundle, clock: context.clock });
}

/** Roots change rarely, and a home that missed a rotation is locked out: so each use looks, at most once a minute. Never fails a command. */
async function refreshBundle({
  context,
  home,
  channel,
}: {
  context: CliContext;
  home: string;
  channel: Channel;
}): Promise<void> {
  try {
    if (!isBundleDue(home, { now: context.clock.now(), everyMs: bundleEveryMs })) return;
    const reply = (await channel.call({ method: 'GET', path: '/v1/bundle' })) as BundleReply;
    saveHomeBundle(home, { trustDomain: reply.trustDomain, text: reply.bundle });
  } catch {
    // Read-only home, or a server that has just gone: the next use tries again.
  }
}

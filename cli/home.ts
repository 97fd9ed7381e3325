// The files of a home that the command line reads: which server there is and what to trust. Never the authority's own.
import { existsSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { readFileOrFail, writeFileAtomic } from '#base/files';
import { isValid, type Schema, s } from '#base/schema';
import { parseBundle, type TrustBundle } from '#spiffe';
import { fail } from './errors.ts';

const bundleFile = s.object({ trustDomain: s.string(), bundle: s.string() });
const serverFile = s.object({ url: s.string(), pid: s.integer() });

/** The trust bundle of the home; throws `CLI_NO_BUNDLE`, `CLI_HOME_BROKEN`. */
export function readHomeBundle(home: string): TrustBundle {
  const path = bundlePath(home);
  if (!existsSync(path)) throw fail('CLI_NO_BUNDLE', { path });
  const { trustDomain, bundle } = readHomeJson({
    path,
    schema: bundleFile,
    fix: 'copy it again from the home of the authority',
  });
  return parseBundle(trustDomain, bundle);
}

/** Keeps a bundle for the next run unless what is there is as new. */
export function saveHomeBundle(home: string, { trustDomain, text }: { trustDomain: string; text: string }): void {
  const held = readHomeBundle(home);
  if (held.trustDomain !== trustDomain) return;
  if (parseBundle(trustDomain, text).sequence > held.sequence)
    writeFileAtomic(bundlePath(home), `${JSON.stringify({ trustDomain, bundle: text }, undefined, 2)}\n`, 0o644);
}

/** True once for every `everyMs`: the bundle is due for a look. */
export function isBundleDue(home: string, { now, everyMs }: { now: number; everyMs: number }): boolean {
  const path = bundlePath(home);
  if (now - statSync(path).mtimeMs < everyMs) return false;
  utimesSync(path, now / 1_000, now / 1_000);
  return true;
}

/** The server that runs, or ran last, on this home. */
export function readHomeServer(home: string): { readonly url: string; readonly pid: number } | undefined {
  const path = serverPath(home);
  if (!existsSync(path)) return undefined;
  return readHomeJson({ path, schema: serverFile, fix: 'remove it, or start the server again' });
}

export function serverPath(home: string): string {
  return join(home, 'server.json');
}

/** Whether this home holds a certificate authority. */
export function hasAuthority(home: string): boolean {
  return existsSync(join(home, 'ca'));
}

export function adminFolder(home: string): string {
  return join(home, 'admin');
}

export function bundlePath(home: string): string {
  return join(home, 'bundle.json');
}

/** A JSON file of the home; later versions may write more keys. Throws `FILE_UNREADABLE`, `CLI_HOME_BROKEN`. */
export function readHomeJson<T>({ path, schema, fix }: { path: string; schema: Schema<T>; fix: string }): T {
  let value: unknown;
  try {
    value = JSON.parse(readFileOrFail(path).toString());
  } catch (thrown) {
    if (!(thrown instanceof SyntaxError)) throw thrown;
    throw fail('CLI_HOME_BROKEN', { path, reason: 'it is not JSON', fix });
  }
  const loose = { ...schema, additionalProperties: true } as Schema<T>;
  if (!isValid(loose, value)) throw fail('CLI_HOME_BROKEN', { path, reason: 'it does not say what it should', fix });
  return value;
}

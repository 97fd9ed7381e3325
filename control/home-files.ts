// What a running server leaves in its home for the commands beside it: where it is, and the trust bundle that verifies it.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomic } from '#base/files';
import { formatBundle, type TrustBundle } from '#spiffe';

/** Replaces <home>/server.json: only this user may know where the server is and what its pid is. */
export function writeServerFile(home: string, server: { readonly url: string; readonly pid: number }): void {
  writeFileAtomic(join(home, 'server.json'), `${JSON.stringify(server)}\n`, 0o600);
}

export function removeServerFile(home: string): void {
  rmSync(join(home, 'server.json'), { force: true });
}

/** Replaces <home>/bundle.json; a bundle is public. */
export function writeBundleFile(home: string, bundle: TrustBundle): void {
  const reply = { trustDomain: bundle.trustDomain, bundle: formatBundle(bundle) };
  writeFileAtomic(join(home, 'bundle.json'), `${JSON.stringify(reply)}\n`, 0o644);
}

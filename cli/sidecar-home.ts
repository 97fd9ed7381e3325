// The identity that a sidecar keeps in its home, for exporting it. Only read, never changed.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { s } from '#base/schema';
import { type Identity, parseBundle, readIdentity, type TrustBundle } from '#spiffe';
import { fail } from './errors.ts';
import { readHomeJson } from './home.ts';
import { readChainFile, readKeyFile } from './pem-files.ts';

const state = s.object({ bundle: s.string() });

/** Throws `CLI_NOT_FOUND` when no sidecar has enrolled in this home, `CLI_HOME_BROKEN`, `FILE_*`. */
export function readSidecarIdentity(home: string): { readonly identity: Identity; readonly bundle: TrustBundle } {
  const file = (name: string) => ({
    path: join(home, 'sidecar', name),
    fix: 'start the sidecar on this home, which mends or explains it',
  });
  if (!existsSync(file('svid.pem').path))
    throw fail('CLI_NOT_FOUND', {
      what: 'sidecar identity in',
      name: home,
      fix: 'name the home of a sidecar: --home DIR',
    });
  const identity = readIdentity({ key: readKeyFile(file('key.pem')), chain: readChainFile(file('svid.pem')) });
  const { bundle } = readHomeJson({ ...file('state.json'), schema: state });
  return { identity, bundle: parseBundle(identity.id.trustDomain, bundle) };
}

// Where `postern policy` takes the policy from: files, or the control plane.
import { join } from 'node:path';
import { isPosternError, type Problem } from '#base/error';
import { makeFolder as makeFolders, writeFileAtomic } from '#base/files';
import { type LocatedResource, type PolicySet, policySet, type VersionReply } from '#wire';
import type { Api, CliContext } from './context.ts';
import { fail } from './errors.ts';
import { readHomeBundle } from './home.ts';

export interface PolicySource {
  /** Files and folders; none: the policy in force. */
  readonly policy?: readonly string[];
  readonly trustDomain?: string;
}

/** What the files hold and every problem in them, of shape and of meaning. */
export async function readFiles(
  paths: readonly string[],
): Promise<{ resources: readonly LocatedResource[]; problems: readonly Problem[] }> {
  const { loadResources } = await import('#config/resources');
  const { validateResources } = await import('#policy');
  const { resources, problems } = loadResources(paths);
  if (problems.length === 0 && resources.length === 0) throw fail('CLI_FILES_EMPTY', { files: paths.join(', ') });
  // Half of the resources would make nonsense of what the rest refers to.
  if (problems.length > 0) return { resources, problems };
  return { resources, problems: [...validateResources(resources), ...(await trafficProblems(resources))] };
}

/** Of clusters and virtual services, as far as it can be told without knowing which services there are. */
async function trafficProblems(resources: readonly LocatedResource[]): Promise<readonly Problem[]> {
  if (!resources.some(({ resource: { kind } }) => kind === 'Cluster' || kind === 'VirtualService' || kind === 'Mesh'))
    return [];
  const { validateTraffic } = await import('#routing/tools');
  return validateTraffic(resources, { trustDomain: 'local' });
}

/** Throws `CLI_FILES_INVALID` with every problem, or what the channel throws. */
export async function readPolicy(
  context: CliContext,
  source: PolicySource,
): Promise<{ set: PolicySet; trustDomain: string }> {
  if (!source.policy?.length) {
    return context.withApi(async (api) => ({
      set: await api.call({ method: 'GET', path: '/v1/policy', reply: policySet }),
      trustDomain: api.trustDomain,
    }));
  }
  const { resources, problems } = await readFiles(source.policy);
  if (problems.length > 0) throw fail('CLI_FILES_INVALID', { count: problems.length }, { problems });
  const trustDomain = trustDomainOf(context, source);
  const { buildPolicySet } = await import('#policy');
  return { set: buildPolicySet({ resources, trustDomain, revision: 0 }), trustDomain };
}

/** As `readPolicy`, of one word: a file or folder, `live`, or `rev:N` for a version that the control plane keeps. */
export async function readVersion(
  context: CliContext,
  word: string,
  trustDomain?: string,
): Promise<{ set: PolicySet; trustDomain: string }> {
  const given = trustDomain === undefined ? {} : { trustDomain };
  if (word === 'live') return readPolicy(context, given);
  const revision = /^rev:([0-9]{1,15})$/.exec(word)?.[1];
  if (revision === undefined) return readPolicy(context, { policy: [word], ...given });
  return context.withApi(async (api) => ({
    set: await fetchVersion(api, Number(revision)),
    trustDomain: api.trustDomain,
  }));
}

/** Throws `VERSION_UNKNOWN`. */
export async function fetchVersion(api: Api, revision: number): Promise<PolicySet> {
  const { resources } = await api.call<VersionReply>({ method: 'GET', path: `/v1/versions/${revision}` });
  const { buildPolicySet } = await import('#policy');
  return buildPolicySet({ resources, trustDomain: api.trustDomain, revision });
}

/** The trust domain that service names in files belong to: as given, else that of the home, else `local`. */
export function trustDomainOf(context: CliContext, { trustDomain }: PolicySource): string {
  if (trustDomain !== undefined) return trustDomain;
  try {
    return readHomeBundle(context.home()).trustDomain;
  } catch (thrown) {
    if (isPosternError(thrown, 'CLI_NO_BUNDLE') || isPosternError(thrown, 'CONFIG_NO_HOME')) return 'local';
    throw thrown;
  }
}

export function makeFolder(path: string): void {
  try {
    makeFolders(path);
  } catch {
    throw fail('CLI_USAGE', { problem: `${path} cannot be made a folder`, fix: 'choose another with --out' });
  }
}

/** Writes the file whole and gives its path. */
export function writeTextFile(folder: string, name: string, text: string): string {
  const path = join(folder, name);
  writeFileAtomic(path, text, 0o644);
  return path;
}

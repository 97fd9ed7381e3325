// Recorded decisions decided again under a candidate, for `postern policy replay` and `postern apply --guard`.
import { isPosternError } from '#base/error';
import type { Flip, ObservedCall, Replay } from '#policy/tools';
import type { PolicySet } from '#wire';
import type { Api, CliContext } from './context.ts';
import { shortId } from './names.ts';
import { fetchObserved } from './policy-records.ts';
import { fetchVersion } from './policy-source.ts';

/** `since` in epoch milliseconds. Policies that were in force meanwhile are fetched, so that what they proved about a call is used. */
export async function replayAgainst(o: {
  readonly context: CliContext;
  readonly api: Api;
  readonly since: number;
  readonly candidate: PolicySet;
}): Promise<Replay> {
  const { loadModels } = await import('#policy');
  const { replay } = await import('#policy/tools');
  const { calls } = await fetchObserved(o.context, o.api, o.since);
  const sets = new Map<number, PolicySet>();
  for (const revision of new Set(calls.map((call) => call.revision))) {
    const set = revision > 0 ? await versionOrNothing(o.api, revision) : undefined;
    if (set) sets.set(revision, set);
  }
  return replay(calls, o.candidate, (revision) => sets.get(revision), await loadModels(o.candidate));
}

async function versionOrNothing(api: Api, revision: number): Promise<PolicySet | undefined> {
  try {
    return await fetchVersion(api, revision);
  } catch (thrown) {
    if (isPosternError(thrown, 'VERSION_UNKNOWN')) return undefined;
    throw thrown;
  }
}

/** `12x allow -> deny  web -> payments GET /x  (by p/a)`. */
export function flipText({ call, now, rules }: Flip, trustDomain: string): string {
  const by = rules.length > 0 ? `  (${rules.slice(0, 4).join(', ')})` : '';
  return `${call.count}x ${call.effect} -> ${now}  ${callText(call, trustDomain)}${by}`;
}

export function callText({ from, to, method, path }: ObservedCall, trustDomain: string): string {
  return `${shortId(from, trustDomain)} -> ${shortId(to, trustDomain)} ${method} ${path}`;
}

// Would this change deny calls that were allowed lately? Asked before `postern apply --guard` sends anything.
import type { LocatedResource } from '#wire';
import type { CliContext } from './context.ts';
import { fail } from './errors.ts';
import { sinceOf } from './policy-records.ts';
import { flipText, replayAgainst } from './policy-replay.ts';

export interface Guarded {
  readonly resources: readonly LocatedResource[];
  /** How far back, such as 24h. */
  readonly guard: string;
  /** Warn instead of refusing. */
  readonly anyway: boolean;
}

/** Throws `CLI_GUARD` with every call that would be, or might be, denied. */
export async function guardApply(context: CliContext, { resources, guard, anyway }: Guarded): Promise<void> {
  const { buildPolicySet, validateResources } = await import('#policy');
  const since = sinceOf(guard, context.clock.now());
  await context.withApi(async (api) => {
    const reply = await api.call<{ resources: readonly LocatedResource[] }>({ method: 'GET', path: '/v1/resources' });
    const next = new Map(
      [...reply.resources, ...resources].map((one) => [`${one.resource.kind}/${one.resource.name}`, one]),
    );
    const all = [...next.values()];
    const problems = validateResources(all);
    if (problems.length > 0) throw fail('CLI_FILES_INVALID', { count: problems.length }, { problems });
    const candidate = buildPolicySet({ resources: all, trustDomain: api.trustDomain, revision: 0 });
    const { flips } = await replayAgainst({ context, api, since, candidate });
    const lost = flips.filter(({ call }) => call.effect === 'allow');
    if (lost.length === 0) return;
    const count = lost.reduce((sum, { call }) => sum + call.count, 0);
    const refused = lost.map((flip) => ({ message: flipText(flip, api.trustDomain) }));
    if (!anyway) throw fail('CLI_GUARD', { count, time: guard }, { problems: refused });
    context.output.warn(`${count} calls of the last ${guard} would be denied`);
    for (const { message } of refused.slice(0, 10)) context.output.warn(message);
  });
}

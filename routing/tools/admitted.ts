// To which services does any policy admit anybody at all?
import { buildPolicySet, readSource } from '#policy';
import type { LocatedResource, PolicySet } from '#wire';

export interface Admitted {
  /** Whether some rule or model could let somebody in, by SPIFFE ID. */
  isOpen(id: string): boolean;
}

/** `undefined` when there are no policies at all: then these resources are about something else. */
export function readAdmitted(resources: readonly LocatedResource[], trustDomain: string): Admitted | undefined {
  if (!resources.some(({ resource: { kind } }) => kind === 'Policy' || kind === 'CasbinModel')) return undefined;
  const set = buildPolicySet({ resources, trustDomain, revision: 0 });
  const allowing = set.rules.filter(({ effect, shadow }) => effect === 'allow' && !shadow);
  const targets = [...allowing, ...(set.models ?? [])].flatMap(({ to }) => to.flatMap((text) => membersOf(text, set)));
  const ids = new Set(targets);
  const bases = targets.filter((text) => text.endsWith('/**')).map((text) => text.slice(0, -3));
  return {
    isOpen: (id) => ids.has('*') || ids.has(id) || bases.some((base) => id === base || id.startsWith(`${base}/`)),
  };
}

function membersOf(text: string, { groups }: PolicySet): readonly string[] {
  const source = readSource(text);
  if (typeof source === 'string' || source.kind !== 'group') return [text];
  return Object.hasOwn(groups, source.name) ? groups[source.name]! : [];
}

// Who is in a group, through groups of groups to any depth. A cycle is an error with its path, never an empty or partial answer.

/** Names of the groups that form a cycle, the first one repeated at the end; `undefined` when there is none. Unknown groups are ignored. */
export function findCycle(groups: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  return sortGroups(groups).cycle;
}

/**
 * Each group's members with groups resolved: SPIFFE IDs, prefixes and `*`, each once, in the order first met. Throws `TypeError` on a cycle:
 * ask `findCycle` first.
 */
export function flattenGroups(groups: ReadonlyMap<string, readonly string[]>): Map<string, readonly string[]> {
  const { order, cycle } = sortGroups(groups);
  if (cycle) throw new TypeError(`group cycle: ${cycle.join(' -> ')}`);
  const flat = new Map<string, readonly string[]>();
  for (const name of order) {
    const members = new Set<string>();
    for (const member of groups.get(name)!) {
      if (!member.startsWith('group:')) members.add(member);
      else for (const inner of flat.get(member.slice(6)) ?? []) members.add(inner);
    }
    flat.set(name, [...members]);
  }
  return flat;
}

/** Depth first without recursion (ten thousand groups in a chain are legal): every group after the groups it names. */
function sortGroups(groups: ReadonlyMap<string, readonly string[]>): { order: string[]; cycle?: string[] } {
  const order: string[] = [];
  const done = new Set<string>();
  for (const root of groups.keys()) {
    const path: { name: string; next: number; inner: string[] }[] = [];
    const open = new Set<string>();
    const enter = (name: string): void => {
      const inner = groups.get(name)!.flatMap((member) => (member.startsWith('group:') ? [member.slice(6)] : []));
      path.push({ name, next: 0, inner });
      open.add(name);
    };
    if (!done.has(root)) enter(root);
    while (path.length > 0) {
      const top = path.at(-1)!;
      const child = top.inner[top.next++];
      if (child === undefined) {
        done.add(top.name);
        open.delete(top.name);
        order.push(top.name);
        path.pop();
      } else if (open.has(child)) {
        const names = path.map(({ name }) => name);
        return { order, cycle: [...names.slice(names.indexOf(child)), child] };
      } else if (groups.has(child) && !done.has(child)) enter(child);
    }
  }
  return { order };
}

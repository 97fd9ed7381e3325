// Which host names are meant by a list of exact ones and `*.` patterns, and which of several lists means a name best.

/** What stands at the best match: the exact name, else the longest pattern. `*.` stands for one label or more. */
export interface HostMap<T> {
  find(host: string): T | undefined;
}

export function hostMap<T>(entries: Iterable<readonly [pattern: string, value: T]>): HostMap<T> {
  const exact = new Map<string, T>();
  const below = new Map<string, T>();
  for (const [pattern, value] of entries) {
    const into = pattern.startsWith('*.') ? below : exact;
    const name = pattern.startsWith('*.') ? pattern.slice(2) : pattern;
    // The first one that was written counts.
    if (!into.has(name)) into.set(name, value);
  }
  return {
    find(host) {
      const found = exact.get(host);
      if (found !== undefined || below.size === 0) return found;
      for (let at = host.indexOf('.'); at >= 0; at = host.indexOf('.', at + 1)) {
        const wide = below.get(host.slice(at + 1));
        if (wide !== undefined) return wide;
      }
      return undefined;
    },
  };
}

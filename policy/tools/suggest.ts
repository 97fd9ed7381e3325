// The least rules that allow what was observed: paths put into templates where a segment is an identifier, callers that do the same put into
// one rule. Allows every call it was given, and nothing that no template of them explains.
import type { ObservedCall } from './observed.ts';

export interface Suggestion {
  /** SPIFFE ID of the called service. */
  readonly to: string;
  readonly rules: readonly SuggestedRule[];
}

export interface SuggestedRule {
  readonly id: string;
  readonly from: readonly string[];
  readonly methods: readonly string[];
  readonly paths: readonly string[];
  /** Calls that it covers. */
  readonly count: number;
  /** Different paths among them. */
  readonly distinct: number;
  readonly first: string;
  readonly last: string;
}

/** More different segments than this in one place are taken for identifiers, whatever they look like. */
const mostNames = 12;

export function suggestRules(calls: readonly ObservedCall[]): Suggestion[] {
  return [...groupBy(calls, ({ to }) => to)]
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([to, own]) => ({ to, rules: rulesFor(own) }));
}

function rulesFor(calls: readonly ObservedCall[]): SuggestedRule[] {
  const templateOf = createTemplates(calls.map(({ path }) => path));
  const used = calls.map((call) => ({ call, template: templateOf(call.path) }));
  // Caller by caller: the methods of each template, then the templates of equal methods, then the callers of equal both.
  const parts = [...groupBy(used, ({ call }) => call.from)].flatMap(([from, own]) => {
    const byTemplate = [...groupBy(own, ({ template }) => template)].map(([template, some]) => ({
      template,
      methods: [...new Set(some.map(({ call }) => call.method))].sort(),
      some,
    }));
    return [...groupBy(byTemplate, ({ methods }) => methods.join())].map(([, same]) => ({
      from,
      methods: same[0]!.methods,
      paths: same.map(({ template }) => template).sort(),
      calls: same.flatMap(({ some }) => some.map(({ call }) => call)),
    }));
  });
  const merged = [...groupBy(parts, ({ methods, paths }) => JSON.stringify([methods, paths]))].map(([, same]) => ({
    ...same[0]!,
    from: same.map(({ from }) => from).sort(),
    calls: same.flatMap((part) => part.calls),
  }));
  const total = (some: readonly ObservedCall[]): number => some.reduce((sum, { count }) => sum + count, 0);
  merged.sort((one, other) => total(other.calls) - total(one.calls));
  const ids = new Set<string>();
  return merged.map(({ from, methods, paths, calls: some }) => ({
    id: idFor(from, methods, ids),
    ...{ from, methods, paths, count: total(some), distinct: new Set(some.map(({ path }) => path)).size },
    first: some.map(({ first }) => first).sort()[0]!,
    last: some
      .map(({ last }) => last)
      .sort()
      .at(-1)!,
  }));
}

function idFor(from: readonly string[], methods: readonly string[], taken: Set<string>): string {
  const who = from.length === 1 ? from[0]!.split('/').at(-1)! : `${from.length}-callers`;
  const base = `${who}-${methods.join('-').toLowerCase()}`
    .replace(/[^a-z0-9-]+/gi, '-')
    .slice(0, 100)
    .replace(/^-+|-+$/g, '');
  for (let turn = 1; ; turn++) {
    const id = turn === 1 ? base : `${base}-${turn}`;
    if (taken.has(id)) continue;
    taken.add(id);
    return id;
  }
}

interface Place {
  readonly next: Map<string, Place>;
}

interface Merged {
  readonly literals: Map<string, Merged>;
  /** Where every segment that is an identifier leads. */
  readonly id: Merged | undefined;
}

/** Templates from all paths of one service: the more that is known, the surer what is a name and what an identifier. */
function createTemplates(paths: readonly string[]): (path: string) => string {
  const root: Place = { next: new Map() };
  for (const path of paths) {
    let at = root;
    for (const segment of path.slice(1).split('/')) {
      const next = at.next.get(segment) ?? { next: new Map() };
      at.next.set(segment, next);
      at = next;
    }
  }
  const merged = merge([root]);
  return (path) => {
    let at: Merged | undefined = merged;
    let ids = 0;
    const steps = path
      .slice(1)
      .split('/')
      .map((segment) => {
        const literal: Merged | undefined = at?.literals.get(segment);
        at = literal ?? at?.id;
        return literal ? segment : `{id${ids++ === 0 ? '' : ids}}`;
      });
    return `/${steps.join('/')}`;
  };
}

/** Places as one, with what lies below identifiers put together. */
function merge(places: readonly Place[]): Merged {
  const byName = new Map<string, Place[]>();
  for (const { next } of places) {
    for (const [name, place] of next) {
      const same = byName.get(name);
      if (same) same.push(place);
      else byName.set(name, [place]);
    }
  }
  const isMany = byName.size - (byName.has('') ? 1 : 0) > mostNames;
  const literals = new Map<string, Merged>();
  const ids: Place[] = [];
  for (const [name, same] of byName) {
    if (name !== '' && (isMany || looksLikeId(name))) for (const place of same) ids.push(place);
    else literals.set(name, merge(same));
  }
  return { literals, id: ids.length > 0 ? merge(ids) : undefined };
}

/** Numbers, UUIDs, long hexadecimal, and long words with digits in them. */
function looksLikeId(segment: string): boolean {
  return (
    /^\d+$/.test(segment) ||
    /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(segment) ||
    (/^[0-9a-f]{8,}$/i.test(segment) && /\d/.test(segment)) ||
    (/^[A-Za-z0-9_~-]{16,}$/.test(segment) && /\d/.test(segment))
  );
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}

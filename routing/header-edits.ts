// Changes to a list of fields: what is removed or set goes, then what is set and added comes at the end.
import type { HeaderChanges } from '#wire';
import type { HeaderEdits } from './action.ts';

/** `undefined`: nothing to do. */
export function compileEdits(changes: HeaderChanges | undefined): HeaderEdits | undefined {
  if (!changes) return undefined;
  const set = Object.entries(changes.set ?? {}).map(([name, value]) => [name.toLowerCase(), value] as const);
  const gone = new Set([...(changes.remove ?? []), ...set.map(([name]) => name)].map((name) => name.toLowerCase()));
  const last = [...set, ...Object.entries(changes.add ?? {})].flatMap(([name, value]) => [name.toLowerCase(), value]);
  if (gone.size === 0 && last.length === 0) return undefined;
  return {
    apply(fields) {
      const edited: string[] = [];
      for (let at = 0; at < fields.length; at += 2)
        if (!gone.has(fields[at]!)) edited.push(fields[at]!, fields[at + 1]!);
      for (const text of last) edited.push(text);
      return edited;
    },
  };
}

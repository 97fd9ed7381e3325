// Kinds of resources as people type them: `policy`, `policies`, `Policy`.
import { suggest } from '#base/suggest';
import { type ResourceKind, resourceSchemas } from '#wire';
import { fail } from './errors.ts';

export const kinds = Object.keys(resourceSchemas) as readonly ResourceKind[];

/** Throws `CLI_USAGE` with the nearest kind. */
export function parseKind(text: string): ResourceKind {
  const word = text.toLowerCase();
  const found = kinds.find((kind) => [kind.toLowerCase(), plural(kind)].includes(word));
  if (found) return found;
  const near = suggest(
    word,
    kinds.flatMap((kind) => [kind.toLowerCase(), plural(kind)]),
  );
  const known = kinds.map((kind) => kind.toLowerCase()).join(', ');
  throw fail('CLI_USAGE', {
    problem: `there is no kind ${text}`,
    fix: near ? `did you mean ${near}?` : `the kinds: ${known}`,
  });
}

function plural(kind: ResourceKind): string {
  return kind.toLowerCase().replace(/y$/, 'ie').concat('s');
}

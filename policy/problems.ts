// A fault in a resource, said where it was written.
import type { Problem } from '#base/error';
import type { LocatedResource, Origin } from '#wire';

/** Says what is wrong at a JSON pointer of one resource. */
export type Report = (pointer: string, message: string, hint?: string) => void;

/** Makes a `Report` for each resource; all of them write to the one list. */
export function reporterTo(problems: Problem[]): (located: LocatedResource) => Report {
  return ({ resource, origin }) =>
    (pointer, message, hint) => {
      problems.push({
        message: `${resource.kind} ${resource.name}: ${message}`,
        ...(origin ? { file: origin.file, ...positionOf(origin, pointer) } : {}),
        pointer,
        ...(hint ? { hint } : {}),
      });
    };
}

/** Line and column of the place that a JSON pointer names, or of the nearest thing around it that has one. */
export function positionOf(origin: Origin, pointer: string): { line: number; column: number } | undefined {
  for (let at = pointer; ; at = at.slice(0, at.lastIndexOf('/'))) {
    const [line, column] = Object.hasOwn(origin.positions, at) ? (origin.positions[at] ?? []) : [];
    if (line !== undefined && column !== undefined) return { line, column };
    if (at === '') return undefined;
  }
}

/** `; the other is at FILE:LINE:COLUMN`, as far as it is known. */
export function whereIs({ origin }: LocatedResource): string {
  if (!origin) return '';
  const at = positionOf(origin, '');
  return `; the other is at ${origin.file}${at ? `:${at.line}:${at.column}` : ''}`;
}

/** What somebody wrote, shortened and quoted. */
export function show(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text);
}

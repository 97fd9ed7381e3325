// Can a match match? What can never be true of a canonical request is refused: it is a hole, not a detail.
import { foldPath } from '#base/canonical-path';
import { pointerTo } from '#base/schema';
import { type Report, readSource, readTemplate, show } from '#policy';
import type { HttpMatch, PathMatch, TextMatch } from '#wire';
import { readRegex } from '../regex.ts';
import { checkSeen } from './header.ts';

export function checkMatch(match: HttpMatch, pointer: string, report: Report): void {
  if (match.path) checkPathMatch(match.path, `${pointer}/path`, report);
  checkSources(match.from, `${pointer}/from`, report);
  for (const [name, text] of Object.entries(match.headers ?? {})) {
    const at = pointerTo(`${pointer}/headers`, name);
    checkSeen(name, at, report);
    checkText(text, at, `header ${name}`, report);
  }
  for (const [name, text] of Object.entries(match.withoutHeaders ?? {})) {
    const at = pointerTo(`${pointer}/withoutHeaders`, name);
    checkSeen(name, at, report);
    checkText(text, at, `header ${name}`, report);
    if (typeof text !== 'string' && text.present === false)
      report(at, `without a header ${name} that is not there`, `write headers: { ${name}: { present: true } }`);
  }
  for (const [name, text] of Object.entries(match.query ?? {})) {
    if (name === '') report(`${pointer}/query`, 'a query parameter has no name');
    checkText(text, pointerTo(`${pointer}/query`, name), `query parameter ${name}`, report);
  }
}

/** Callers; groups are for policies. */
export function checkSources(from: readonly string[] | undefined, pointer: string, report: Report): void {
  for (const [index, text] of (from ?? []).entries()) {
    const source = readSource(text);
    const at = `${pointer}/${index}`;
    if (typeof source === 'string') report(at, `${show(text)}: ${source}`);
    else if (source.kind === 'group')
      report(at, `${text}: routes do not know groups`, 'name the services, or spiffe://trust-domain/prefix/**');
  }
}

export function checkText(match: TextMatch, pointer: string, what: string, report: Report): void {
  if (typeof match === 'string') return;
  if (Object.keys(match).length !== 1) report(pointer, `${what}: write one of exact, prefix, regex and present`);
  if (match.regex !== undefined) checkRegex(match.regex, `${pointer}/regex`, report);
}

/** The number of its groups. */
export function checkRegex(text: string, pointer: string, report: Report): number | undefined {
  const regex = readRegex(text);
  if (typeof regex !== 'string') return regex.groupCount;
  report(pointer, `${show(text)} is no RE2 expression: ${regex}`);
  return undefined;
}

function checkPathMatch(match: PathMatch, pointer: string, report: Report): void {
  if (Object.keys(match).length !== 1) report(pointer, 'path: write one of exact, prefix, template and regex');
  if (match.exact !== undefined) checkCanonical(match.exact, `${pointer}/exact`, report);
  if (match.prefix !== undefined) checkCanonical(match.prefix, `${pointer}/prefix`, report);
  if (match.regex !== undefined) checkRegex(match.regex, `${pointer}/regex`, report);
  if (match.template === undefined) return;
  const template = readTemplate(match.template);
  if (typeof template === 'string') report(`${pointer}/template`, `path ${show(match.template)}: ${template}`);
}

/** A path as every request has it when a route sees it, and as every upstream may get it. */
export function checkCanonical(path: string, pointer: string, report: Report): void {
  const folded = fold(path);
  if (folded.path === path) return;
  report(
    pointer,
    `path ${show(path)} is not in the form that requests have${folded.path === undefined ? `: ${folded.reason}` : ''}`,
    folded.path === undefined ? undefined : `write ${folded.path}`,
  );
}

function fold(path: string): { readonly path?: string; readonly reason?: string } {
  let reason = '';
  try {
    return {
      path: foldPath(path, (why) => {
        reason = why;
        throw new TypeError(why);
      }),
    };
  } catch {
    return { reason };
  }
}

// Is a name one that may be chosen?
import { type Report, readSource, show } from '#policy';
import { reservedPath } from '#spiffe';

/** A service's name is the path of its SPIFFE ID. */
export function checkService(name: string, pointer: string, report: Report): void {
  const source = readSource(name);
  if (typeof source === 'string') report(pointer, `${show(name)} names no service: ${source}`);
  else if (source.kind !== 'service') report(pointer, `${show(name)} names no service`);
  else if (name === reservedPath || name.startsWith(`${reservedPath}/`))
    report(pointer, `${reservedPath}/ is for the mesh's own parts`);
}

export function checkNoPattern(host: string | undefined, pointer: string, report: Report): void {
  if (host?.startsWith('*.')) report(pointer, `${host} is a pattern; one name is needed here`);
}

/** Names of routes are labels of records and metrics: two of one name could not be told apart. */
export function checkRouteNames(routes: readonly { readonly name?: string }[], pointer: string, report: Report): void {
  const seen = new Map<string, number>();
  for (const [index, { name }] of routes.entries()) {
    if (name === undefined) continue;
    const at = `${pointer}/${index}/name`;
    if (/^[0-9]+$/.test(name)) report(at, `route ${name}: a number is the place of a route without a name`);
    const before = seen.get(name);
    if (before !== undefined) report(at, `route ${name}: route ${before + 1} has this name too`);
    else seen.set(name, index);
  }
}

// Another path or place for a request: rewrites and redirects. What comes out of a rewrite is canonical again or is not sent.
import { foldPath } from '#base/canonical-path';
import type { HttpRoute } from '#wire';
import type { Redirect } from './action.ts';
import { fail } from './errors.ts';
import { parseRegex } from './regex.ts';

/** `prefix` is what the route matched by, if it was a prefix. `undefined`: the path stays. */
export function compileRewrite(
  rewrite: HttpRoute['rewrite'],
  prefix: string | undefined,
): ((path: string) => string) | undefined {
  if (rewrite?.path !== undefined) {
    const replace = replacing(prefix, rewrite.path);
    return (path) => (path === '*' ? path : canonical(replace(path)));
  }
  if (!rewrite?.regex) return undefined;
  const regex = parseRegex(rewrite.regex.match);
  const parts = readReplacement(rewrite.regex.replace);
  return (path) => {
    const groups = regex.groups(path);
    if (!groups) return path;
    return canonical(parts.map((part) => (typeof part === 'string' ? part : (groups[part] ?? ''))).join(''));
  };
}

/** Text, and numbers of groups: `$1` is the first, `$0` all of it, `$$` a dollar. */
export function readReplacement(text: string): (string | number)[] {
  const parts: (string | number)[] = [];
  let at = 0;
  for (const found of text.matchAll(/\$(\$|[0-9]{1,2})/g)) {
    parts.push(text.slice(at, found.index), found[1] === '$' ? '$' : Number(found[1]));
    at = found.index + found[0].length;
  }
  return [...parts, text.slice(at)].filter((part) => part !== '');
}

export function compileRedirect(
  given: NonNullable<HttpRoute['redirect']>,
  prefix: string | undefined,
): Pick<Redirect, 'status' | 'location'> {
  const { status = 302, scheme: newScheme, host, port } = given;
  const replace =
    given.path !== undefined
      ? () => given.path!
      : given.prefix !== undefined
        ? replacing(prefix, given.prefix)
        : (path: string) => path;
  return {
    status,
    location({ scheme, authority, path, query }) {
      const to = newScheme ?? scheme;
      const [, name, digits] = /^(.*?)(?::([0-9]+))?$/.exec(authority)!;
      // The port of the old host or scheme says nothing about that of another one.
      const kept = host !== undefined || to !== scheme ? undefined : digits;
      const at = port ?? (kept === undefined ? undefined : Number(kept));
      const isUsual = at === undefined || at === (to === 'https' ? 443 : 80);
      const named = host === undefined ? name! : host.includes(':') ? `[${host}]` : host;
      return `${to}://${named}${isUsual ? '' : `:${at}`}${path === '*' ? '' : replace(path)}${query}`;
    },
  };
}

/** The matched prefix becomes another; without one the whole path does. */
function replacing(prefix: string | undefined, by: string): (path: string) => string {
  if (prefix === undefined) return () => by;
  const skipped = prefix.endsWith('/') ? prefix.length - 1 : prefix.length;
  const stem = by.endsWith('/') ? by.slice(0, -1) : by;
  return (path) => (path.length <= skipped ? by : `${stem}${path.slice(skipped)}`);
}

function canonical(path: string): string {
  return foldPath(path, refuse);
}

function refuse(reason: string): never {
  throw fail('ROUTE_PATH_INVALID', { reason });
}

// Which header may be named where. Those that say who calls, where to, or how long a message is are not a route's to change.
import { pointerTo } from '#base/schema';
import { type Report, show } from '#policy';
import type { HeaderChanges } from '#wire';

/** Framing, connection and identity; `authorization` and `content-type` are the operator's. */
const guarded =
  /^(?:host|content-length|transfer-encoding|connection|keep-alive|proxy-connection|te|trailer|upgrade|expect|forwarded|x-forwarded-client-cert|x-postern-.*)$/;
/** What a canonical head does not have among its fields, so that no match finds it. */
const unseen = /^(?:host|content-length|transfer-encoding|connection|keep-alive|proxy-connection|te|upgrade|expect)$/;
const token = /^[a-z0-9!#$%&'*+.^_`|~-]{1,128}$/;
/** What HTTP can carry, byte for byte. */
const value = /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/;

/** Of names that applications fold (`x_postern_peer`), the folded one counts. */
function isGuarded(name: string): boolean {
  return guarded.test(name.replace(/[^a-z0-9-]/g, '-'));
}

export function checkHeaders(
  headers: { readonly request?: HeaderChanges; readonly response?: HeaderChanges } | undefined,
  pointer: string,
  report: Report,
): void {
  for (const side of ['request', 'response'] as const) {
    const { set = {}, add = {}, remove = [] } = headers?.[side] ?? {};
    const at = `${pointer}/${side}`;
    checkFields(set, `${at}/set`, report);
    checkFields(add, `${at}/add`, report);
    for (const [index, name] of remove.entries()) {
      if (isGuarded(name)) report(`${at}/remove/${index}`, `header ${name} is the proxy's own and cannot be removed`);
      if (Object.hasOwn(set, name)) report(`${at}/remove/${index}`, `header ${name} is both set and removed`);
    }
  }
}

/** Fields that are given to a message. */
export function checkFields(fields: Readonly<Record<string, string>>, pointer: string, report: Report): void {
  for (const [name, text] of Object.entries(fields)) {
    const at = pointerTo(pointer, name);
    if (!checkName(name, at, report)) continue;
    if (isGuarded(name))
      report(
        at,
        `header ${name} is the proxy's own and cannot be set`,
        name === 'host' ? 'write rewrite.host' : undefined,
      );
    if (!value.test(text))
      report(at, `header ${name}: its value has spaces around it or a character that HTTP cannot carry`);
  }
}

/** A header that a match looks at. */
export function checkSeen(name: string, pointer: string, report: Report): void {
  if (!checkName(name, pointer, report)) return;
  if (unseen.test(name))
    report(
      pointer,
      `header ${name} is not among those that routes see`,
      name === 'host' ? 'write it into hosts' : undefined,
    );
}

/** Header names of CORS, which are written as people like. */
export function checkToken(name: string, pointer: string, report: Report): void {
  if (name !== '*' && !token.test(name.toLowerCase())) report(pointer, `${show(name)} is no header name`);
}

function checkName(name: string, pointer: string, report: Report): boolean {
  if (token.test(name)) return true;
  const isUpper = token.test(name.toLowerCase());
  report(
    pointer,
    `${show(name)} is no ${isUpper ? 'lower-case ' : ''}header name`,
    isUpper ? `write ${name.toLowerCase()}` : undefined,
  );
  return false;
}

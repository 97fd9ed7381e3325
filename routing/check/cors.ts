// Does a CORS rule mean what it says to a browser?
import type { Report } from '#policy';
import type { Cors, TextMatch } from '#wire';
import { compileText } from '../match-text.ts';
import { checkDuration } from './amount.ts';
import { checkToken } from './header.ts';
import { checkText } from './match.ts';

/** Origins that anybody can have, each in another way; null is that of a sandboxed frame. What allows one of them allows anybody. */
const anybodys = ['null', 'http://origin-of-nobody.invalid', ...['invalid', 'com', 'net', 'org'].map(nobodyIn)];
function nobodyIn(domain: string): string {
  return `https://origin-of-nobody.${domain}`;
}

export function checkCors(cors: Cors, pointer: string, report: Report): void {
  checkDuration(cors.maxAge, `${pointer}/maxAge`, report);
  for (const [index, origin] of cors.allowOrigins.entries()) {
    const at = `${pointer}/allowOrigins/${index}`;
    let isFaulty = false;
    checkText(origin, at, 'origin', (...said) => {
      isFaulty = true;
      report(...said);
    });
    const exact = typeof origin === 'string' ? origin : origin.exact;
    if (exact !== undefined && exact !== '*' && exact !== 'null' && !/^[a-z][a-z0-9+.-]*:\/\/[^/\s,]+$/.test(exact))
      report(
        at,
        `${JSON.stringify(exact)} is no origin`,
        'a browser sends scheme://host or scheme://host:port, lower case',
      );
    if (isFaulty || !cors.allowCredentials) continue;
    const isAllowed = compileText(origin);
    if (exact === '*' || (isAllowed && anybodys.some(isAllowed)) || isOpenEnded(origin))
      report(at, 'with credentials, any page of anybody could act for its visitors', 'name the origins');
  }
  for (const what of ['allowHeaders', 'exposeHeaders'] as const) {
    for (const [index, name] of (cors[what] ?? []).entries()) {
      checkToken(name, `${pointer}/${what}/${index}`, report);
      if (name === '*' && cors.allowCredentials)
        report(`${pointer}/${what}/${index}`, 'with credentials, * is no wildcard to a browser', 'name the headers');
    }
  }
  const star = cors.allowMethods?.indexOf('*') ?? -1;
  if (star >= 0 && cors.allowCredentials)
    report(`${pointer}/allowMethods/${star}`, 'with credentials, * is no wildcard to a browser', 'name the methods');
}

/** A prefix that ends within the host: whoever owns `https://shop.example.com.evil.example` has an origin that begins so. */
function isOpenEnded(origin: TextMatch): boolean {
  return typeof origin !== 'string' && origin.prefix !== undefined && !/:\/\/[^/:]+:/.test(origin.prefix);
}

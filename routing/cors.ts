// Cross-origin requests (the Fetch standard, CORS protocol): which origins a browser may call from, and what it may send. What is not allowed is
// answered without a word of permission, which is how a browser is told no.
import type { Cors } from '#wire';
import type { CorsPlan } from './action.ts';
import { durationOf } from './amounts.ts';
import { compileText } from './match-text.ts';

const usualMethods = ['GET', 'HEAD', 'POST'];

export function compileCors(cors: Cors | undefined): CorsPlan | undefined {
  if (!cors) return undefined;
  const tests = cors.allowOrigins.map((match) => compileText(match) ?? (() => false));
  const isAnybody = cors.allowOrigins.includes('*');
  const isAllowed = (origin: string): boolean => isAnybody || tests.some((test) => test(origin));
  const credentials = cors.allowCredentials ? ['access-control-allow-credentials', 'true'] : [];
  const forPreflight = [
    ...['access-control-allow-methods', (cors.allowMethods ?? usualMethods).join(', ')],
    ...(cors.allowHeaders ? ['access-control-allow-headers', cors.allowHeaders.join(', ')] : []),
    ...(cors.maxAge === undefined
      ? []
      : ['access-control-max-age', String(Math.floor(durationOf(cors.maxAge) / 1_000))]),
    ...credentials,
  ];
  const forAnswer = [
    ...(cors.exposeHeaders ? ['access-control-expose-headers', cors.exposeHeaders.join(', ')] : []),
    ...credentials,
  ];
  /** The answer depends on who asks, unless anybody may. */
  const vary = isAnybody ? [] : ['vary', 'Origin'];
  const permit = (origin: string): string[] => ['access-control-allow-origin', isAnybody ? '*' : origin, ...vary];
  return {
    preflight({ method, fields }) {
      const origin = fieldOf(fields, 'origin');
      if (method !== 'OPTIONS' || origin === undefined) return undefined;
      if (fieldOf(fields, 'access-control-request-method') === undefined) return undefined;
      return isAllowed(origin) ? [...permit(origin), ...forPreflight] : vary;
    },
    answer({ fields }) {
      const origin = fieldOf(fields, 'origin');
      return origin !== undefined && isAllowed(origin) ? [...permit(origin), ...forAnswer] : vary;
    },
  };
}

/** One value; two Origins are nobody's. */
function fieldOf(fields: readonly string[], name: string): string | undefined {
  let found: string | undefined;
  for (let at = 0; at < fields.length; at += 2) {
    if (fields[at] !== name) continue;
    if (found !== undefined) return undefined;
    found = fields[at + 1]!;
  }
  return found;
}

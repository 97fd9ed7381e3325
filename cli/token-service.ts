// Which service a join token is for, as it says itself: enough to see where it belongs. Nothing in it is believed beyond that.
import { fail } from './errors.ts';

/** The service's name; throws `CLI_USAGE` for what is no token. */
export function serviceOfToken(token: string): string {
  const part = token.trim().split('.')[1] ?? '';
  try {
    const { sub } = JSON.parse(Buffer.from(part, 'base64url').toString()) as { sub?: unknown };
    const [, service] = /^spiffe:\/\/[^/]+\/(.+)$/.exec(String(sub)) ?? [];
    if (service !== undefined) return service;
  } catch {
    // Said below.
  }
  throw fail('CLI_USAGE', {
    problem: 'a --token is no join token',
    fix: 'paste the whole output of: postern token create SERVICE',
  });
}

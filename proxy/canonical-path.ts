// The canonical form of a request's path, refused as a request's target is.
import { foldPath } from '#base/canonical-path';
import { fail } from './errors.ts';

/** Canonical path of an origin-form target without its query; throws `HTTP_TARGET_INVALID`. */
export function canonicalPath(raw: string): string {
  return foldPath(raw, refuse);
}

function refuse(reason: string): never {
  throw fail('HTTP_TARGET_INVALID', { reason });
}

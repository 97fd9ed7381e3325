// Does a refusal mean that this identity itself is not wanted, so that asking often is pointless?
import { isPosternError } from '#base/error';

/** True for a ban of the identity or of its certificate. */
export function isRefusedIdentity(thrown: unknown): boolean {
  return isPosternError(thrown) && /BANNED/.test(thrown.code);
}

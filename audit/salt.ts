// Salts of commitments: 132 random bits as 22 characters of base64url, so that a value cannot be guessed from its commitment.
import { randomBytes } from 'node:crypto';

export const saltLength = 22;
let pool = '';
let used = 0;

export function newSalt(): string {
  if (used + saltLength > pool.length) {
    pool = randomBytes(6_144).toString('base64url');
    used = 0;
  }
  used += saltLength;
  return pool.slice(used - saltLength, used);
}

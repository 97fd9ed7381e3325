// Why an identity is refused. Codes are audit reasons too.
import { defineErrors } from '#base/error';

export const spiffeErrors = {
  IDENTITY_ID_INVALID: {
    message: '{id} is not a SPIFFE ID: {reason}',
    hint: 'write spiffe://trust-domain/path with a-z 0-9 . - _ in the trust domain and A-Z too in the path',
    status: 400,
    retryable: false,
  },
  IDENTITY_BUNDLE_INVALID: {
    message: 'the trust bundle is not usable: {reason}',
    status: 400,
    retryable: false,
  },
} as const;

export const fail = defineErrors(spiffeErrors);

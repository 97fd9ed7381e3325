// Why a call to the control plane failed on this side of it. A refusal by the server itself keeps the server's own code and words.
import { defineErrors } from '#base/error';

export const wireErrors = {
  CONTROL_UNREACHABLE: {
    message: 'the control plane at {url} cannot be reached: {reason}',
    hint: 'check that `postern server` is running there and that nothing between drops the connection',
    status: 503,
    retryable: true,
  },
  CONTROL_UNTRUSTED: {
    message: 'the control plane at {url} cannot be trusted: {reason}',
    hint: 'nothing was sent to it; check the address, the clock, and that the trust bundle belongs to this mesh',
    status: 502,
    retryable: false,
  },
  CONTROL_REFUSED: {
    message: 'the control plane at {url} refused this certificate: {reason}',
    hint: 'the certificate may be expired, banned or of another mesh; check the clock, then enrol again with a new token',
    status: 403,
    retryable: false,
  },
  CONTROL_REPLY_INVALID: {
    message: 'the control plane at {url} gave an answer that is not understood: {reason}',
    hint: 'check that both sides run the same version of Postern',
    status: 502,
    retryable: false,
  },
} as const;

export const fail = defineErrors(wireErrors);

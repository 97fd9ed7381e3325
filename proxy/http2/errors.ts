// Why an HTTP/2 connection ended before its time. Codes are audit reasons and metric labels, as those of the folder above.
import { defineErrors } from '#base/error';

export const http2Errors = {
  HTTP2_INVALID: { message: 'the other side does not keep to HTTP/2: {reason}', status: 400, retryable: false },
  HTTP2_FLOOD: {
    message: 'the other side asks for more than it is allowed: {reason}',
    hint: 'a peer that keeps to HTTP/2 does not do this by accident; look at what runs there',
    status: 400,
    retryable: true,
  },
  HTTP2_TIMEOUT: {
    message: 'the other side of an HTTP/2 connection was silent: {reason}',
    status: 408,
    retryable: true,
  },
  HTTP2_GOAWAY: {
    message: 'the other side ended the HTTP/2 connection with error code {number}',
    status: 502,
    retryable: true,
  },
} as const;

export const failLink = defineErrors(http2Errors);

// Why the control plane refuses. `exposed` is all that a caller without a verified certificate is told.
import { defineErrors } from '#base/error';

export const controlErrors = {
  SERVER_RUNNING: {
    message: 'another server runs on {home}: {who}',
    hint: 'stop that one first, or start this one with another --home',
    status: 409,
    retryable: true,
  },
  SERVER_HOME_UNUSABLE: {
    message: '{home} cannot hold the server: {reason}',
    hint: 'check that it is there, has space and may be written by this user; a new one begins with: postern ca init',
    status: 500,
    retryable: false,
  },
  SERVER_LISTEN_INVALID: {
    message: '{listen} is not an address to listen on',
    hint: 'write HOST:PORT, such as 127.0.0.1:8443 or [::1]:0',
    status: 400,
    retryable: false,
  },
  SERVER_LISTEN_FAILED: {
    message: '{listen} cannot be listened on: {reason}',
    hint: 'choose another address with --listen; port 0 takes any free one',
    status: 500,
    retryable: true,
  },
  SERVER_STOPPING: {
    message: 'the server is stopping',
    status: 503,
    retryable: true,
    exposed: 'the server is stopping',
  },
  SERVER_FAULT: {
    message: 'the server failed to do this (fault {fault} in its log)',
    hint: 'look for that fault in the log of the server',
    status: 500,
    retryable: true,
    exposed: 'the server failed to do this',
  },
  SERVER_STORE_FAILED: {
    message: 'the store of the control plane refused the write: {reason}',
    hint: 'check the disk under the home folder; what was there before is unchanged',
    status: 503,
    retryable: true,
    exposed: 'the server cannot do this now',
  },
  SERVER_EVENTS_UNWRITABLE: {
    message: 'nothing is changed while the event log cannot be written: {reason}',
    hint: 'check the disk under the home folder',
    status: 503,
    retryable: true,
    exposed: 'the server cannot do this now',
  },
  CALLER_ANONYMOUS: {
    message: 'this needs a client certificate',
    hint: 'call it with an identity of this trust domain',
    status: 401,
    retryable: false,
    exposed: 'this needs a client certificate',
  },
  CALLER_UNKNOWN: {
    message: 'certificate {serial} of {id} is not on record here',
    hint: 'enrol again with a new token',
    status: 403,
    retryable: false,
  },
  CALLER_EXPIRED: {
    message: 'certificate {serial} of {id} has expired',
    hint: 'enrol again with a new token',
    status: 401,
    retryable: false,
  },
  CALLER_BANNED: {
    message: '{id} is banned (certificate {serial})',
    hint: 'an admin can lift it: postern identity unban',
    status: 403,
    retryable: false,
  },
  CALLER_REFUSED: {
    message: '{id} may not do this: it is for {needs}',
    status: 403,
    retryable: false,
  },
  ROUTE_UNKNOWN: { message: 'there is no {method} {path}', status: 404, retryable: false },
  REQUEST_INVALID: {
    message: 'the request is not understood: {reason}',
    status: 400,
    retryable: false,
    exposed: 'the request is not understood',
  },
  REQUEST_TOO_LARGE: {
    message: 'the request is larger than this route takes',
    status: 413,
    retryable: false,
    exposed: 'the request is too large',
  },
  REQUEST_TOO_MANY: {
    message: 'too many requests of this kind from {who}',
    hint: 'try again in a few seconds',
    status: 429,
    retryable: true,
    exposed: 'too many requests: try again in a few seconds',
  },
  TOKEN_MISSING: {
    message: 'enrolment needs a join token',
    hint: 'send it as Authorization: Bearer',
    status: 401,
    retryable: false,
    exposed: 'enrolment needs a join token',
  },
  TOKEN_SERVICE_INVALID: {
    message: 'no token can be made for {service}: {reason}',
    status: 400,
    retryable: false,
  },
  TOKEN_HOST_TAKEN: {
    message: '{service} would be called {host}, which is already {holder}',
    hint: 'choose another service name: host names ignore case and read service paths backwards',
    status: 409,
    retryable: false,
  },
  BAN_SELF: {
    message: '{id} cannot ban the identity that it is using',
    hint: 'ask another admin, or make another admin identity first',
    status: 409,
    retryable: false,
  },
  RESOURCE_INVALID: { message: 'the resources are not valid: {count} problems', status: 422, retryable: false },
  RESOURCE_UNKNOWN: {
    message: 'there is no {kind} {name}',
    hint: 'postern get {kind} lists what there is',
    status: 404,
    retryable: false,
  },
  VERSION_UNKNOWN: {
    message: 'there is no version {revision} of the policy, or it is no longer kept',
    hint: 'postern policy history lists those that are',
    status: 404,
    retryable: false,
  },
  RECORD_FOREIGN: {
    message: 'a record of {found} came from {caller}',
    hint: 'a proxy may only hand in its own records',
    status: 403,
    retryable: false,
  },
  LOG_UNKNOWN: {
    message: 'the log of instance {instance} has no alarm',
    hint: 'postern audit logs lists them',
    status: 404,
    retryable: false,
  },
  WATCH_FULL: {
    message: 'the server holds as many streams as it may ({limit})',
    hint: 'try again later, or raise the limit',
    status: 503,
    retryable: true,
  },
} as const;

export const fail = defineErrors(controlErrors);

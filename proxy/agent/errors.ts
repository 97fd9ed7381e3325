// Why a sidecar cannot start or go on. Codes are public; docs/errors lists them all.
import { defineErrors } from '#base/error';

export const sidecarErrors = {
  SIDECAR_HOME_TAKEN: {
    message: 'another sidecar already runs on {path}',
    hint: 'stop it, or give this one a home of its own with --home',
    status: 500,
    retryable: true,
  },
  SIDECAR_TOKEN_MISSING: {
    message: 'there is no identity in {path} and no join token was given',
    hint: 'run: postern token create SERVICE, then start again with --token',
    status: 400,
    retryable: false,
  },
  GATEWAY_TOKEN_MISSING: {
    message: 'there is no valid identity of {service} in {path} and no join token for it',
    hint: 'run: postern token create {service}, then start again with --token, or name its file as tokenFile',
    status: 400,
    retryable: false,
  },
  GATEWAY_TOKEN_FOREIGN: {
    message: 'the identity for {service} would be one of {granted}',
    hint: 'a token grants one service: run postern token create {service}',
    status: 409,
    retryable: false,
  },
  SIDECAR_TOKEN_UNREADABLE: {
    message: 'this is not a join token: {reason}',
    hint: 'paste the whole output of: postern token create SERVICE',
    status: 400,
    retryable: false,
  },
  SIDECAR_TOKEN_EXPIRED: {
    message: 'the join token expired at {expired}; it is {now} here',
    hint: 'run: postern token create {service}, and check this clock',
    status: 401,
    retryable: false,
  },
  SIDECAR_TOKEN_FOREIGN: {
    message: '{path} holds the identity {held}, and the token is for {wanted}',
    hint: 'use another --home for {wanted}, or leave --token out to go on as {held}',
    status: 409,
    retryable: false,
  },
  SIDECAR_TOKEN_OTHER_MESH: {
    message: '{path} holds an identity of another mesh with the name {trustDomain} than the token is from',
    hint: 'use another --home, or remove {path} to leave the old mesh for good',
    status: 409,
    retryable: false,
  },
  SIDECAR_IDENTITY_EXPIRED: {
    message: 'the certificate of {id} in {path} expired at {expired}',
    hint: 'run: postern token create {service}, then start again with --token',
    status: 401,
    retryable: false,
  },
  SIDECAR_CLOCK_WRONG: {
    message: 'the certificate of {id} is valid from {notBefore} to {notAfter}, and it is {now} here',
    hint: 'set this clock right, then start again',
    status: 500,
    retryable: true,
  },
  SIDECAR_SVID_REFUSED: {
    message: 'the control plane issued a certificate that is not acceptable: {reason}',
    hint: 'nothing was stored; look at the control plane, then try again',
    status: 502,
    retryable: false,
  },
  SIDECAR_FOLDER_BROKEN: {
    message: '{path} is damaged: {reason}',
    hint: 'remove {folder} and enrol again: postern token create SERVICE, then start with --token',
    status: 500,
    retryable: false,
  },
  SIDECAR_FOLDER_NEWER: {
    message: '{path} was written by a newer Postern (version {found}, this one knows {known})',
    hint: 'run the newer version, or remove {folder} and enrol again',
    status: 500,
    retryable: false,
  },
  SIDECAR_LISTEN_FAILED: {
    message: 'the {listener} listener cannot open {address}: {reason}',
    hint: 'choose another address with --{listener}; port 0 means any free one',
    status: 500,
    retryable: true,
  },
  SIDECAR_ADMIN_EXPOSED: {
    message: 'the admin listener may only be on a loopback address, not {address}',
    hint: 'use --admin 127.0.0.1:15000',
    status: 400,
    retryable: false,
  },
  SIDECAR_ADDRESS_INVALID: {
    message: '--{option} is not HOST:PORT: {value}',
    hint: 'write it as 127.0.0.1:8080 or [::1]:8080, with tcp:// or (for --app) h2c:// before it when it is not HTTP/1.1',
    status: 400,
    retryable: false,
  },
  SIDECAR_SNAPSHOT_REFUSED: {
    message: 'revision {revision} of the configuration is refused: {reason}',
    hint: 'the revision before it stays in force; look at the control plane',
    status: 409,
    retryable: false,
  },
} as const;

export const fail = defineErrors(sidecarErrors);

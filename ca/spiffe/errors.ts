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
  IDENTITY_MALFORMED: {
    message: 'the certificate or request is not well-formed DER: {reason}',
    status: 400,
    retryable: false,
  },
  IDENTITY_SAN_INVALID: {
    message: 'the certificate does not name exactly one SPIFFE ID: {reason}',
    hint: 'an X509-SVID carries one URI subject alternative name',
    status: 403,
    retryable: false,
  },
  IDENTITY_NOT_LEAF: {
    message: 'a signing certificate was presented as an identity: {reason}',
    status: 403,
    retryable: false,
  },
  IDENTITY_USAGE_INVALID: {
    message: 'the certificate may not be used for mutual TLS: {reason}',
    status: 403,
    retryable: false,
  },
  IDENTITY_EXTENSION_UNKNOWN: {
    message: 'the certificate has the critical extension {oid}, which is not understood',
    status: 403,
    retryable: false,
  },
  IDENTITY_WEAK: {
    message: 'the key or signature is too weak or of an unknown kind: {reason}',
    hint: 'use ECDSA P-256 or P-384, Ed25519, or RSA of 2048 bits or more, signed with SHA-256 or better',
    status: 403,
    retryable: false,
  },
  IDENTITY_EXPIRED: {
    message: 'the certificate of {id} expired at {notAfter}',
    hint: 'renew it; if it was renewed in time, compare the clocks of both machines',
    status: 403,
    retryable: false,
  },
  IDENTITY_NOT_YET_VALID: {
    message: 'the certificate of {id} is valid only from {notBefore}',
    hint: 'compare the clocks of both machines',
    status: 403,
    retryable: true,
  },
  IDENTITY_FOREIGN: {
    message: '{id} is not in the trust domain {trustDomain}',
    status: 403,
    retryable: false,
  },
  IDENTITY_UNEXPECTED: {
    message: 'the peer is {id}, not {expected}',
    status: 502,
    retryable: false,
  },
  IDENTITY_UNTRUSTED: {
    message: 'the certificate does not chain to a root of {trustDomain}: {reason}',
    hint: 'the peer may hold a certificate of a removed root; let it renew or enrol again',
    status: 403,
    retryable: false,
  },
  IDENTITY_CHAIN_INVALID: {
    message: 'the certificate chain is not acceptable: {reason}',
    status: 403,
    retryable: false,
  },
  IDENTITY_KEY_MISMATCH: {
    message: 'the private key does not belong to the certificate of {id}',
    hint: 'restore the pair from one backup, or enrol again with a new token',
    status: 500,
    retryable: false,
  },
  TLS_UNVERIFIED: {
    message: 'the TLS connection has no verified peer: {reason}',
    status: 403,
    retryable: false,
  },
  TLS_RESUMED: {
    message: 'the TLS session was resumed, so its peer was not verified anew',
    status: 403,
    retryable: true,
  },
} as const;

export const fail = defineErrors(spiffeErrors);

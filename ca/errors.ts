// Why the certificate authority refuses or fails. Codes are audit reasons too.
import { defineErrors } from '#base/error';

export const caErrors = {
  CA_EXISTS: {
    message: '{home} already holds a certificate authority',
    hint: 'use another --home, or keep this one: see `postern ca status`',
    status: 409,
    retryable: false,
  },
  CA_MISSING: {
    message: '{home} holds no certificate authority',
    hint: 'run: postern ca init --trust-domain NAME',
    status: 404,
    retryable: false,
  },
  CA_INCOMPLETE: {
    message: 'the certificate authority in {home} is damaged: {reason}',
    hint: 'restore {path} from a backup; nothing was changed and no new root was made',
    status: 500,
    retryable: false,
  },
  CA_KEY_UNREADABLE: {
    message: '{path} is not a usable private key: {reason}',
    hint: 'restore {path} from a backup; nothing was changed and no new key was made',
    status: 500,
    retryable: false,
  },
  CA_PASSPHRASE_NEEDED: {
    message: '{path} is encrypted and no passphrase was given',
    hint: 'give the passphrase by file descriptor or credential file',
    status: 400,
    retryable: false,
  },
  CA_PASSPHRASE_WRONG: {
    message: 'the passphrase does not open {path}',
    hint: 'check for a trailing newline in the passphrase file; nothing was changed',
    status: 400,
    retryable: false,
  },
  CA_ROOT_REFUSED: {
    message: 'the given root cannot be used: {reason}',
    hint: 'a root is a self-signed CA certificate with keyCertSign, a strong key, and its private key beside it',
    status: 400,
    retryable: false,
  },
  CA_ROOT_OFFLINE: {
    message: 'the key of the root is not here ({state})',
    hint: 'put the key file back, or give its passphrase, then try again',
    status: 409,
    retryable: false,
  },
  CA_ROTATION_RUNNING: {
    message: 'a root rotation is under way: {waitingFor}',
    hint: 'wait for it; `postern ca status` shows what it waits for',
    status: 409,
    retryable: true,
  },
  CA_ISSUING_EXPIRED: {
    message: 'no issuing CA is valid now (the last one ended at {notAfter})',
    hint: 'check the clock; if it is right, run `postern ca rotate issuing` with the root key in place',
    status: 503,
    retryable: true,
  },
  CA_CLOCK_STEPPED: {
    message: 'the clock jumped by {seconds} s; nothing is issued until it has been steady for {steadySeconds} s',
    hint: 'compare the clock with a time server; issuing resumes by itself',
    status: 503,
    retryable: true,
  },
  CA_CLOCK_WRONG: {
    message: 'the clock says {now}, which no certificate can carry',
    hint: 'set the clock',
    status: 503,
    retryable: true,
  },
  CA_SETTINGS_INVALID: { message: 'the lifetimes are not usable: {reason}', status: 400, retryable: false },
  CA_CERTIFICATE_WRONG: {
    message: 'a certificate that was just made is not what it had to be: {reason}',
    hint: 'nothing was released; please report this',
    status: 500,
    retryable: false,
  },
  TOKEN_INVALID: {
    message: 'the join token is not valid: {reason}',
    hint: 'make a new one: postern token create SERVICE',
    status: 401,
    retryable: false,
    exposed: 'the join token was refused',
  },
  TOKEN_EXPIRED: {
    message: 'the join token {id} expired at {expiresAt}',
    hint: 'make a new one: postern token create SERVICE',
    status: 401,
    retryable: false,
    exposed: 'the join token has expired',
  },
  TOKEN_USED: {
    message: 'the join token {id} was already used with another key',
    hint: 'a token enrols one instance once; make another: postern token create SERVICE',
    status: 401,
    retryable: false,
    exposed: 'the join token was already used',
  },
  TOKEN_SERVICE_REFUSED: {
    message: 'no join token can be made for {service}: {reason}',
    status: 400,
    retryable: false,
  },
  CSR_INVALID: {
    message: 'the certificate request is not acceptable: {reason}',
    status: 400,
    retryable: false,
    exposed: 'the certificate request is not acceptable',
  },
  KEY_WEAK: {
    message: 'the key of the certificate request is refused: {reason}',
    hint: 'make a new ECDSA P-256 key',
    status: 400,
    retryable: false,
    exposed: 'the key of the certificate request is refused',
  },
  KEY_REUSED: {
    message: 'the key was already certified for another instance',
    hint: 'make a new key: one instance, one key',
    status: 400,
    retryable: false,
    exposed: 'the key of the certificate request is refused',
  },
  IDENTITY_BANNED: {
    message: '{id} is banned',
    hint: 'an administrator can lift it: postern identity unban',
    status: 403,
    retryable: false,
  },
  IDENTITY_UNKNOWN: {
    message: 'no certificate with the serial {serial} was issued to {id}',
    hint: 'enrol again with a new token',
    status: 403,
    retryable: false,
  },
  RENEWAL_EXPIRED: {
    message: 'the certificate of {id} expired at {notAfter} and cannot be renewed',
    hint: 'enrol again with a new token',
    status: 403,
    retryable: false,
  },
  ISSUANCE_LIMITED: {
    message: '{id} asks for certificates too often',
    hint: 'a renewal is due at half of a certificate life; try again later',
    status: 429,
    retryable: true,
  },
  PKCS12_PASSWORD: {
    message: 'the password of a key store needs at least {least} characters',
    hint: 'choose a longer one; keytool refuses shorter ones too',
    status: 400,
    retryable: false,
  },
  BAN_INVALID: {
    message: 'the ban names {reason}',
    hint: 'name one SPIFFE ID or one serial',
    status: 400,
    retryable: false,
  },
} as const;

export const fail = defineErrors(caErrors);

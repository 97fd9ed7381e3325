// What can go wrong in the command line itself.
import { defineErrors } from '#base/error';

export const cliErrors = {
  CLI_USAGE: { message: '{problem}', hint: '{fix}', status: 400, retryable: false },
  CLI_NOT_FOUND: { message: 'there is no {what} {name}', hint: '{fix}', status: 404, retryable: false },
  CLI_NO_IDENTITY: {
    message: 'there is no admin identity in {folder}',
    hint: 'make the authority with: postern ca init --trust-domain NAME; or on its host: postern ca admin NAME --out DIR, and copy DIR to {folder}',
    status: 500,
    retryable: false,
  },
  CLI_IDENTITY_EXPIRED: {
    message: 'the admin identity {id} expired {ago} ago',
    hint: 'on the host of the authority run: postern ca admin {name}',
    status: 500,
    retryable: false,
  },
  CLI_NO_BUNDLE: {
    message: '{path} is missing, so no server can be trusted',
    hint: 'copy bundle.json from the home of the authority',
    status: 500,
    retryable: false,
  },
  CLI_HOME_BROKEN: { message: '{path} is not usable: {reason}', hint: '{fix}', status: 500, retryable: false },
  CLI_NO_SERVER: {
    message: 'no server is known: {path} is missing',
    hint: 'start one with: postern server (on a new home postern ca init comes first); or pass --server URL or set POSTERN_SERVER',
    status: 503,
    retryable: true,
  },
  CLI_FILES_INVALID: {
    message: 'problems in the files: {count}',
    hint: 'nothing was applied',
    status: 400,
    retryable: false,
  },
  CLI_FILES_EMPTY: {
    message: 'there is no resource in {files}',
    hint: 'files end in .yaml, .yml or .json and hold documents with a kind',
    status: 400,
    retryable: false,
  },
  CLI_GUARD: {
    message: 'calls that were allowed in the last {time} would be denied, or might be: {count}',
    hint: 'nothing was applied; change the policy, or add --yes when it is meant so',
    status: 409,
    retryable: false,
  },
  CLI_ADMIN_UNREACHABLE: {
    message: 'no proxy answers at {address}: {reason}',
    hint: 'a proxy says on start where its admin listener is; it answers on its own machine only',
    status: 503,
    retryable: true,
  },
  CLI_OUTPUT_UNWRITABLE: {
    message: 'standard output cannot be written: {reason}',
    hint: 'what was printed is cut short; check free space where it goes and run it again',
    status: 500,
    retryable: true,
  },
  CLI_FILES_TOO_LARGE: {
    message: 'standard input is larger than 64 MiB',
    hint: 'apply it as several files',
    status: 400,
    retryable: false,
  },
} as const;

export const fail = defineErrors(cliErrors);

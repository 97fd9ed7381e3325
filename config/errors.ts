// Why a process cannot be configured.
import { defineErrors } from '#base/error';

export const configErrors = {
  CONFIG_INVALID: {
    message: 'the settings of {process} are not usable',
    hint: 'every problem is listed; nothing was started',
    status: 400,
    retryable: false,
  },
  CONFIG_FILE_INVALID: {
    message: '{file} is not usable: {reason}',
    status: 400,
    retryable: false,
  },
  CONFIG_NO_HOME: {
    message: 'no home folder is known: HOME is not set and this user has none',
    hint: 'pass --home DIR or set POSTERN_HOME',
    status: 400,
    retryable: false,
  },
} as const;

export const fail = defineErrors(configErrors);

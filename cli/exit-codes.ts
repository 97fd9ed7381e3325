// What the exit codes mean. Public: scripts depend on them (docs/cli.md).
import { isPosternError } from '#base/error';

export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  /** Denied, or not healthy. */
  denied: 3,
  notFound: 4,
  unreachable: 5,
} as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

const usageCodes = new Set(['CLI_USAGE', 'CONFIG_INVALID', 'CONFIG_FILE_INVALID', 'CONFIG_NO_HOME']);
const unreachableCodes = new Set(['CONTROL_UNREACHABLE', 'CLI_NO_SERVER', 'CLI_ADMIN_UNREACHABLE']);

/** The exit code for anything thrown. */
export function exitCodeOf(thrown: unknown): ExitCode {
  if (!isPosternError(thrown)) return exitCodes.failed;
  if (usageCodes.has(thrown.code)) return exitCodes.usage;
  if (unreachableCodes.has(thrown.code)) return exitCodes.unreachable;
  if (thrown.status === 404) return exitCodes.notFound;
  if (thrown.status === 401 || thrown.status === 403) return exitCodes.denied;
  return exitCodes.failed;
}

// How long certificates live. Written at `ca init`, kept in the database; an operator may override some at a start.
import { formatDuration } from '#base/duration';
import { fail } from './errors.ts';

/** All in milliseconds. */
export interface CaSettings {
  readonly svidTtlMs: number;
  readonly issuingTtlMs: number;
  readonly rootTtlMs: number;
  /** Life of an administrator's own SVID. */
  readonly adminTtlMs: number;
  /** How far notBefore lies in the past, for peers whose clocks are behind. */
  readonly backdateMs: number;
}

export const defaultSettings: CaSettings = {
  svidTtlMs: 3_600_000,
  issuingTtlMs: 7 * 86_400_000,
  rootTtlMs: 3_652 * 86_400_000,
  adminTtlMs: 86_400_000,
  backdateMs: 30_000,
};

const longestLife = 40 * 365 * 86_400_000;

/** The settings with these put over them; throws `CA_SETTINGS_INVALID` for lives that cannot work together. */
export function withSettings(base: CaSettings, over: Partial<CaSettings> = {}): CaSettings {
  const settings = { ...base, ...over };
  for (const [name, ms] of Object.entries(settings))
    if (!Number.isSafeInteger(ms) || ms < 0 || ms > longestLife) refuse(`${name} is not a length of time`);
  if (settings.svidTtlMs < 1_000) refuse('an SVID must live for at least 1s');
  if (settings.adminTtlMs < 1_000) refuse("an administrator's SVID must live for at least 1s");
  if (settings.backdateMs > 600_000) refuse('certificates may be backdated by at most 10m');
  if (settings.issuingTtlMs <= settings.svidTtlMs)
    refuse(`an issuing CA must outlive an SVID (${formatDuration(settings.svidTtlMs)})`);
  if (settings.rootTtlMs <= settings.issuingTtlMs)
    refuse(`a root must outlive an issuing CA (${formatDuration(settings.issuingTtlMs)})`);
  return Object.freeze(settings);
}

function refuse(reason: string): never {
  throw fail('CA_SETTINGS_INVALID', { reason });
}

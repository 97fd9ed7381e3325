// Lengths of time as people write them: `250ms`, `30s`, `10m`, `1h30m`, `7d`. Milliseconds everywhere inside.

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** The JSON Schema pattern of a duration. */
export const durationPattern = '^([0-9]+(ms|s|m|h|d))+$';

/** Milliseconds of a duration such as `1h30m`; `undefined` when the text is not one. */
export function parseDuration(text: string): number | undefined {
  if (!new RegExp(durationPattern).test(text)) return undefined;
  let total = 0;
  for (const [, count, unit] of text.matchAll(/([0-9]+)(ms|s|m|h|d)/g))
    total += Number(count) * (unitMs[unit!] as number);
  return Number.isSafeInteger(total) ? total : undefined;
}

/** The one or two largest units, as kubectl prints ages: `45s`, `5m`, `3h20m`, `6d`. Negative lengths read as `0s`. */
export function formatDuration(ms: number): string {
  if (ms < 1_000) return ms <= 0 ? '0s' : `${Math.round(ms)}ms`;
  const seconds = Math.floor(ms / 1_000);
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return minutes < 10 && seconds % 60 ? `${minutes}m${seconds % 60}s` : `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours}h${minutes % 60}m` : `${hours}h`;
  return `${Math.floor(hours / 24)}d`;
}

// Whether counts are what a distribution gives: Pearson's chi-square against the value that is passed once in a million.

export function isDistributedAs(o: {
  readonly counts: Readonly<Record<string, number>>;
  readonly shares: Readonly<Record<string, number>>;
}): boolean {
  const { counts, shares } = o;
  const picks = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const total = Object.values(shares).reduce((sum, share) => sum + share, 0);
  if (Object.keys(counts).some((name) => !shares[name])) return false;
  let statistic = 0;
  for (const [name, share] of Object.entries(shares)) {
    const expected = (picks * share) / total;
    statistic += ((counts[name] ?? 0) - expected) ** 2 / expected;
  }
  return statistic <= rarely(Object.keys(shares).length - 1);
}

/** Wilson and Hilferty's approximation of the quantile, at 4.75 standard deviations. */
function rarely(degrees: number): number {
  if (degrees === 0) return 0;
  const spread = 2 / (9 * degrees);
  return degrees * (1 - spread + 4.75 * Math.sqrt(spread)) ** 3;
}

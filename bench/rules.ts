// The rules that benchmarks ask: of every sort (groups, prefixes, templates, headers, one in twenty a deny), on one destination.
import type { PolicyRule, PolicySet } from '#wire';

export const benchTo = 'spiffe://bench/payments';
export const benchService = (index: number): string => `spiffe://bench/team${index % 20}/service${index % 200}`;

export function rulesOf(size: number): PolicySet {
  const rules = Array.from({ length: size }, (_, index): PolicyRule => {
    const from =
      index % 10 === 3
        ? `group:g${index % 50}`
        : index % 10 === 7
          ? `spiffe://bench/team${index % 20}/**`
          : benchService(index);
    const path = `/v${index % 7}/resource${index}`;
    return {
      policy: 'bench',
      id: `r${index}`,
      effect: index % 20 === 11 ? 'deny' : 'allow',
      to: [benchTo],
      from: [from],
      methods: index % 3 === 0 ? ['GET', 'HEAD'] : ['POST'],
      paths: index % 5 === 0 ? [`${path}/**`] : index % 2 === 0 ? [path, `${path}/{id}`] : [path],
      ...(index % 10 === 5 ? { when: [{ key: 'header:x-env', in: ['prod', 'stage'] }] } : {}),
    };
  });
  const groups = Array.from({ length: 50 }, (_, index): [string, string[]] => [
    `g${index}`,
    Array.from({ length: 40 }, (_, member) => benchService(index + member * 5)),
  ]);
  return { revision: 1, rules, groups: Object.fromEntries(groups) };
}

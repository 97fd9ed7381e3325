// Whether a gateway would take this file: every problem with its place, and nothing is started.
import type { Problem } from '#base/error';
import { ask, type CheckCategory, failure, warning } from './check.ts';

export async function checkGatewayFile(file: string, now: number): Promise<CheckCategory> {
  const { loadGateway } = await import('#config/gateway');
  const { config, problems, warnings } = loadGateway(file, { now, tokens: new Map() });
  const checks = [
    ...problems.map((problem) => ask(placeOf(problem, file), () => failure(problem.message, problem.hint))),
    ...warnings.map((problem) => ask(placeOf(problem, file), () => warning(problem.message, problem.hint))),
    ...(config?.services ?? []).map(({ service }) => ask(`${service} can be served as it says`, () => undefined)),
  ];
  return { categoryName: 'gateway file', checks: await Promise.all(checks) };
}

function placeOf({ line, column }: Problem, file: string): string {
  return line === undefined ? file : `${file}:${line}:${column}`;
}

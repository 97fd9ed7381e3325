// `postern policy test`: calls with the answer that each must get, decided by the same program as in a proxy. Every difference is shown, and
// which rules no case has touched.
import type { Command } from 'commander';
import type { PolicyCase } from '#config/resources';
import type { Decision, Program } from '#policy';
import type { PolicySet } from '#wire';
import type { CliContext } from '../../context.ts';
import { fail } from '../../errors.ts';
import { exitCodes } from '../../exit-codes.ts';
import { examples } from '../../help.ts';
import { idOf, readCircumstances, readPath } from '../../policy-request.ts';
import { type PolicySource, readPolicy } from '../../policy-source.ts';
import { fromWhere } from './source-options.ts';

export function registerTest(policy: Command, context: CliContext): void {
  const command = fromWhere(policy.command('test'))
    .description('decide calls from files of cases and show every answer that is not the expected one')
    .argument('<CASES...>', 'YAML or JSON files with a list of cases')
    .action((files: string[], options: PolicySource) => runTest(context, files, options));
  examples(
    command,
    'postern policy test cases.yaml --policy policies/',
    'postern policy test cases.yaml',
    'postern policy test a.yaml b.yaml --policy policies/ -o json',
  );
}

interface Outcome {
  readonly case: PolicyCase;
  readonly passed: boolean;
  readonly decision: Decision;
}

async function runTest(context: CliContext, files: readonly string[], options: PolicySource): Promise<void> {
  const { loadCases } = await import('#config/resources');
  const { buildProgram } = await import('#policy');
  const { cases, problems } = loadCases(files);
  if (problems.length > 0) throw fail('CLI_FILES_INVALID', { count: problems.length }, { problems });
  const { set, trustDomain } = await readPolicy(context, options);
  const program = await buildProgram(set, { monotonic: () => context.clock.monotonic(), pause: async () => undefined });
  const outcomes: Outcome[] = [];
  for (const one of cases) outcomes.push(await decide(one, program, trustDomain));
  const failed = outcomes.filter(({ passed }) => !passed);
  const coverage = coverageOf(set, outcomes);
  const result = {
    ok: failed.length === 0,
    passed: outcomes.length - failed.length,
    failed: failed.map(({ case: asked, decision }) => ({ case: asked, decision })),
    coverage,
  };
  context.output.data(result, resultText(context, outcomes, coverage));
  if (failed.length > 0) context.exitWith(exitCodes.failed);
}

async function decide(one: PolicyCase, program: Program, trustDomain: string): Promise<Outcome> {
  const headers = new Map(
    Object.entries(one.headers ?? {}).map(([name, given]) => [name.toLowerCase(), [given].flat()]),
  );
  const { claims, address, time } = one;
  const { shown: _, ...circumstances } = await readCircumstances({
    ...(claims ? { claims } : {}),
    ...(address === undefined ? {} : { address }),
    ...(time === undefined ? {} : { time }),
  });
  const decision = program.decide({
    from: idOf(one.from, trustDomain),
    to: idOf(one.to, trustDomain),
    method: one.method,
    path: await readPath(one.path),
    port: one.port,
    headers: (name) => headers.get(name) ?? [],
    ...circumstances,
  });
  const isRule = one.rule === undefined || one.rule === decision.rule;
  return { case: one, decision, passed: decision.effect === one.expect && isRule };
}

interface Coverage {
  readonly rules: number;
  /** Rules that decided a case. */
  readonly decided: number;
  /** Rules that matched no case at all. */
  readonly untouched: readonly string[];
}

function coverageOf({ rules }: PolicySet, outcomes: readonly Outcome[]): Coverage {
  const decided = new Set(outcomes.flatMap(({ decision }) => decision.rule ?? []));
  const touched = new Set([...decided, ...outcomes.flatMap(({ decision: d }) => [...d.matched, ...d.shadow])]);
  const names = rules.map(({ policy, id }) => `${policy}/${id}`);
  return { rules: names.length, decided: decided.size, untouched: names.filter((name) => !touched.has(name)) };
}

function resultText({ output }: CliContext, outcomes: readonly Outcome[], coverage: Coverage): string {
  const lines: string[] = [];
  for (const { case: one, decision, passed } of outcomes) {
    if (passed) continue;
    const { file, line } = one.source;
    const wanted = one.rule ? `${one.expect} by ${one.rule}` : one.expect;
    const got = decision.rule ? `${decision.effect} by ${decision.rule}` : `${decision.effect} (${decision.reason})`;
    lines.push(`${output.paint('bad', 'FAIL')} ${file}:${line} ${one.name ?? ''}`.trimEnd());
    lines.push(`  ${one.from} -> ${one.to} ${one.method} ${one.path}`, `  expected ${wanted}, got ${got}`);
  }
  const failed = outcomes.filter(({ passed }) => !passed).length;
  const { rules, decided, untouched } = coverage;
  lines.push(`${outcomes.length - failed} passed, ${failed} failed; rules that decided a case: ${decided} of ${rules}`);
  if (untouched.length > 0) {
    const more = untouched.length - 10;
    lines.push(`no case touches: ${untouched.slice(0, 10).join(', ')}${more > 0 ? ` and ${more} more` : ''}`);
  }
  return lines.join('\n');
}

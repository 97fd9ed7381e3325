// What one decision costs, by the number of rules on one destination, beside stock casbin on the same rules in the same run.
import { compileProgram, type Question } from '#policy';
import { createCasbin } from '#policy/casbin';
import type { PolicyRule, PolicySet } from '#wire';
import { type Bench, type Figure, quantile } from './bench.ts';

const sizes = [100, 1_000, 10_000, 100_000];
const perBatch = 32;
const batches = 4_000;

export async function run(): Promise<Bench> {
  const figures: Figure[] = [];
  for (const size of sizes) figures.push(...(await measure(size)));
  return {
    title: 'Policy decisions',
    how: `Rules of every sort (groups, prefixes, templates, headers, one in twenty a deny) on one destination; half of the questions match. Program: ${batches} batches of ${perBatch} decisions, p50 and p99 over batches. Casbin: mean of a few decisions, one at a time, our export in stock node-casbin.`,
    figures,
  };
}

async function measure(size: number): Promise<Figure[]> {
  const set = rulesOf(size);
  const before = process.memoryUsage().heapUsed;
  const started = performance.now();
  const program = compileProgram(set);
  const compiledMs = performance.now() - started;
  const heapMb = (process.memoryUsage().heapUsed - before) / 1e6;
  const questions = questionsOf(size);
  const samples: number[] = [];
  let allowed = 0;
  for (let batch = -1_000; batch < batches; batch++) {
    const first = ((batch + 1_000) * perBatch) % questions.length;
    const begun = performance.now();
    for (let index = 0; index < perBatch; index++) {
      if (program.decide(questions[(first + index) % questions.length]!).effect === 'allow') allowed++;
    }
    if (batch >= 0) samples.push(((performance.now() - begun) * 1_000) / perBatch);
  }
  const p50 = quantile(samples, 0.5);
  const share = Math.round((100 * allowed) / ((batches + 1_000) * perBatch));
  const casbinUs = await casbinMicros(set, { size, questions, agrees: (question) => program.decide(question).effect });
  const name = `${size.toLocaleString('en')} rules`;
  return [
    {
      what: `${name}: one decision`,
      measured: `p50 ${p50.toFixed(2)} us, p99 ${quantile(samples, 0.99).toFixed(2)} us (${share} % allowed)`,
      bar: 'p50 at most 1 us',
      holds: p50 <= 1,
    },
    {
      what: `${name}: stock casbin`,
      measured: `${casbinUs.toFixed(0)} us, ${(casbinUs / p50).toFixed(0)} times as much`,
    },
    {
      what: `${name}: compile`,
      measured: `${compiledMs.toFixed(0)} ms, ${heapMb.toFixed(0)} MB of heap`,
      ...(size === 100_000 ? { bar: 'at most 1 s', holds: compiledMs <= 1_000 } : {}),
    },
  ];
}

interface CasbinRun {
  readonly size: number;
  readonly questions: readonly Question[];
  readonly agrees: (question: Question) => 'allow' | 'deny';
}

async function casbinMicros(set: PolicySet, { size, questions, agrees }: CasbinRun): Promise<number> {
  const casbin = await createCasbin(set);
  const rounds = Math.max(3, Math.min(300, Math.floor(100_000 / size)));
  casbin.decide(questions[0]!);
  const started = performance.now();
  const answers = questions.slice(0, rounds).map((question) => casbin.decide(question));
  const micros = ((performance.now() - started) * 1_000) / rounds;
  const wrong = questions.slice(0, rounds).filter((question, index) => agrees(question) !== answers[index]);
  if (wrong.length > 0) throw new Error(`casbin and the program differ on ${wrong.length} questions`);
  return micros;
}

const to = 'spiffe://bench/payments';
const service = (index: number): string => `spiffe://bench/team${index % 20}/service${index % 200}`;

function rulesOf(size: number): PolicySet {
  const rules = Array.from({ length: size }, (_, index): PolicyRule => {
    const from =
      index % 10 === 3
        ? `group:g${index % 50}`
        : index % 10 === 7
          ? `spiffe://bench/team${index % 20}/**`
          : service(index);
    const path = `/v${index % 7}/resource${index}`;
    return {
      policy: 'bench',
      id: `r${index}`,
      effect: index % 20 === 11 ? 'deny' : 'allow',
      to: [to],
      from: [from],
      methods: index % 3 === 0 ? ['GET', 'HEAD'] : ['POST'],
      paths: index % 5 === 0 ? [`${path}/**`] : index % 2 === 0 ? [path, `${path}/{id}`] : [path],
      ...(index % 10 === 5 ? { when: [{ key: 'header:x-env', in: ['prod', 'stage'] }] } : {}),
    };
  });
  const groups = Array.from({ length: 50 }, (_, index): [string, string[]] => [
    `g${index}`,
    Array.from({ length: 40 }, (_, member) => service(index + member * 5)),
  ]);
  return { revision: 1, rules, groups: Object.fromEntries(groups) };
}

function questionsOf(size: number): Question[] {
  const env = ['prod'];
  const headers = (name: string): readonly string[] => (name === 'x-env' ? env : []);
  return Array.from({ length: 4_096 }, (_, index) => {
    const rule = (index * 7_919) % size;
    const hit = index % 2 === 0;
    const below = rule % 5 === 0 ? '/a/b' : rule % 2 === 0 ? '/77' : '';
    return {
      from: service(rule),
      to,
      method: rule % 3 === 0 ? 'GET' : 'POST',
      path: hit ? `/v${rule % 7}/resource${rule}${below}` : `/v${rule % 7}/other${rule}`,
      port: 8080,
      headers,
    };
  });
}

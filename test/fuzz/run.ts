// `npm run fuzz -- --cases N --seed S [--part P] [--only INDEX]`: our codecs beside llhttp and nghttp2 as they are in Node. A run is repeated by its
// seed, a case by its index. Ends with 1 when there was any disagreement.
import { parseArgs } from 'node:util';
import { type Disagreement, parts } from './parts.ts';

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '10000000' },
    seed: { type: 'string', default: '1' },
    part: { type: 'string' },
    only: { type: 'string' },
  },
});
const say = (text: string): void => void process.stdout.write(`${text}\n`);
// A refusal is an error, and most of the time went into their stacks.
if (values.only === undefined) Error.stackTraceLimit = 0;

const seed = Number(values.seed);
const chosen = parts.filter(({ name }) => values.part === undefined || name === values.part);
const shares = chosen.reduce((sum, { share }) => sum + share, 0);
const batch = 10_000;
const mostShown = 40;
const started = performance.now();
const seconds = (): number => Math.round((performance.now() - started) / 1_000);
let [all, disagreements] = [0, 0];
const kinds = new Map<string, number>();
const found = (one: Disagreement): void => {
  disagreements++;
  const kind = `${one.part}: ${one.what.replace(/\d+|".*"/g, '#').slice(0, 60)}`;
  const times = (kinds.get(kind) ?? 0) + 1;
  kinds.set(kind, times);
  if (times <= 2 && kinds.size <= mostShown)
    say(`! ${one.part} --seed ${seed} --only ${one.index}: ${one.what}\n  ${one.input}`);
};

say(
  `seed ${seed}, ${values.cases} cases, Node ${process.versions.node}, llhttp ${process.versions.llhttp}, nghttp2 ${process.versions.nghttp2}`,
);
if (values.only !== undefined) {
  const index = Number(values.only);
  for (const part of chosen)
    say(`${part.name}: ${await part.run({ seed, from: index, to: index + 1, found })} accepted`);
} else {
  const runs = chosen.map((part) => ({
    part,
    at: 0,
    total: Math.ceil((Number(values.cases) * part.share) / shares),
    accepted: 0,
  }));
  // In turns, so that a run that is ended early has looked at everything.
  for (let said = 0; runs.some(({ at, total }) => at < total); ) {
    for (const run of runs) {
      if (run.at >= run.total) continue;
      const to = Math.min(run.total, run.at + Math.ceil((batch * run.part.share) / shares));
      run.accepted += await run.part.run({ seed, from: run.at, to, found });
      all += to - run.at;
      run.at = to;
    }
    if (seconds() - said < 15) continue;
    said = seconds();
    say(
      `${all} of ${values.cases} after ${said} s: ${runs.map(({ part, accepted }) => `${part.name} ${accepted} accepted`).join(', ')}; ${disagreements} disagreements`,
    );
  }
  for (const { part, total, accepted } of runs)
    say(`${part.name}: ${total} cases, ${accepted} messages accepted by both`);
}
say(`${all} cases in ${seconds()} s, ${disagreements} disagreements`);
process.exitCode = disagreements > 0 ? 1 : 0;

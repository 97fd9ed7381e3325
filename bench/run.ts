// `npm run bench [NAME...]`: runs the benchmarks one after the other, prints their figures beside the bars, and writes docs/benchmarks.md
// when all of them ran.
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import type { Bench } from './bench.ts';

const all: Readonly<Record<string, () => Promise<{ run: () => Promise<Bench> }>>> = {
  issuance: () => import('./issuance.ts'),
  policy: () => import('./policy.ts'),
  audit: () => import('./audit.ts'),
  startup: () => import('./startup.ts'),
  push: () => import('./push.ts'),
  'data-plane': () => import('./data-plane.ts'),
  bodies: () => import('./bodies.ts'),
  handshakes: () => import('./handshakes.ts'),
  endurance: () => import('./endurance.ts'),
};

// A number after the names is for those that take one.
const asked = process.argv.slice(2).filter((word) => !/^[0-9]+$/.test(word));
const unknown = asked.filter((name) => !(name in all));
if (unknown.length > 0)
  throw new Error(`no benchmark is called ${unknown.join(', ')}; there are ${Object.keys(all).join(', ')}`);

const done: Bench[] = [];
for (const name of asked.length > 0 ? asked : Object.keys(all)) {
  process.stderr.write(`running ${name} ...\n`);
  const bench = await (await all[name]!()).run();
  done.push(bench);
  process.stdout.write(`${asText(bench)}\n`);
}
if (asked.length === 0) writeFileSync(new URL('../docs/benchmarks.md', import.meta.url), page(done));

function asText({ title, figures }: Bench): string {
  const width = Math.max(...figures.map(({ what }) => what.length));
  const rows = figures.map(({ what, measured, bar, holds }) => {
    const verdict = bar === undefined ? '' : `   ${holds ? 'holds' : 'MISSES'}: ${bar}`;
    return `  ${what.padEnd(width)}  ${measured}${verdict}\n`;
  });
  return `\n${title}\n${rows.join('')}`;
}

function page(benches: readonly Bench[]): string {
  const head = `# Benchmarks

Written by \`npm run bench\` on ${new Date().toISOString().slice(0, 10)}: Node ${process.version}, ${cpus().length} x ${cpus()[0]?.model ?? 'CPU'}. Machines are shared and noisy, so
claims are ratios within one run, or sizes and times of whole processes. Bars come from the design; a bar that is missed is printed as missed.
`;
  const sections = benches.map(({ title, how, figures }) => {
    const rows = figures.map(
      ({ what, measured, bar, holds }) =>
        `| ${what} | ${measured} | ${bar ?? ''} | ${bar === undefined ? '' : holds ? 'yes' : '**no**'} |`,
    );
    return `\n## ${title}\n${how}\n\n| What | Measured | Bar | Holds |\n|---|---|---|---|\n${rows.join('\n')}\n`;
  });
  return head + sections.join('');
}

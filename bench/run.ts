// `npm run bench [NAME...]`: runs the benchmarks one after the other, prints their figures beside the bars, and writes them to docs/benchmarks.md: the
// whole page when all of them ran, else only the sections of those that did, each with its date.
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import type { Bench } from './bench.ts';

const all: Readonly<Record<string, () => Promise<{ run: () => Promise<Bench> }>>> = {
  issuance: () => import('./issuance.ts'),
  policy: () => import('./policy.ts'),
  routing: () => import('./routing.ts'),
  balance: () => import('./balance.ts'),
  observability: () => import('./observability.ts'),
  'large-snapshot': () => import('./large-snapshot.ts'),
  audit: () => import('./audit.ts'),
  recording: () => import('./recording.ts'),
  startup: () => import('./startup.ts'),
  push: () => import('./push.ts'),
  scale: () => import('./scale.ts'),
  'data-plane': () => import('./data-plane.ts'),
  bodies: () => import('./bodies.ts'),
  handshakes: () => import('./handshakes.ts'),
  memory: () => import('./memory.ts'),
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
const file = new URL('../docs/benchmarks.md', import.meta.url);
writeFileSync(file, asked.length === 0 ? page(done) : replaceSections(readFileSync(file, 'utf8'), done));

function asText({ title, figures }: Bench): string {
  const width = Math.max(...figures.map(({ what }) => what.length));
  const rows = figures.map(({ what, measured, bar, holds }) => {
    const verdict = bar === undefined ? '' : `   ${holds ? 'holds' : 'MISSES'}: ${bar}`;
    return `  ${what.padEnd(width)}  ${measured}${verdict}\n`;
  });
  return `\n${title}\n${rows.join('')}`;
}

function page(benches: readonly Bench[]): string {
  return `# Benchmarks

Written by \`npm run bench\`; each section says when and on what. Machines are shared and noisy, so
claims are ratios within one run, or sizes and times of whole processes. Bars come from the design; a bar that is missed is printed as missed.
${benches.map(section).join('')}`;
}

/** Sections begin with their titles; one that was not there before goes to the end. */
function replaceSections(text: string, benches: readonly Bench[]): string {
  const parts = text.split(/^(?=## )/m).map((part) => part.trimEnd());
  for (const bench of benches) {
    const at = parts.findIndex((part) => part.startsWith(`## ${bench.title}\n`));
    parts.splice(at < 0 ? parts.length : at, at < 0 ? 0 : 1, section(bench).trim());
  }
  return `${parts.join('\n\n')}\n`;
}

function section({ title, how, figures }: Bench): string {
  const rows = figures.map(
    ({ what, measured, bar, holds }) =>
      `| ${what} | ${measured} | ${bar ?? ''} | ${bar === undefined ? '' : holds ? 'yes' : '**no**'} |`,
  );
  const day = new Date().toISOString().slice(0, 10);
  const machine = `Node ${process.version}, ${cpus().length} x ${cpus()[0]?.model.trim() ?? 'CPU'}`;
  return `\n## ${title}\n${how} Measured on ${day}: ${machine}.\n\n| What | Measured | Bar | Holds |\n|---|---|---|---|\n${rows.join('\n')}\n`;
}

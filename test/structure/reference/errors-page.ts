// docs/errors.md from every error table there is. A file that makes errors must export its table, or it would go unseen.
import { join } from 'node:path';
import type { ErrorSpec } from '#base/error';
import { readSources, root } from '../sources.ts';

export interface ErrorTable {
  readonly path: string;
  readonly rows: Readonly<Record<string, ErrorSpec>>;
}

/** The tables of every file that calls `defineErrors`, by path. Throws when a file exports none. */
export async function readErrorTables(): Promise<readonly ErrorTable[]> {
  const declaring = readSources().filter(
    ({ path, code }) => /\bdefineErrors\(/.test(code) && path !== 'base/error.ts' && !path.startsWith('test/'),
  );
  const tables: ErrorTable[] = [];
  for (const { path, code } of declaring) {
    // A table of another folder, used under its own name, is listed there.
    if (new RegExp(`import[^;]*\\b${/defineErrors\((\w+)\)/.exec(code)?.[1]}\\b`).test(code)) continue;
    const loaded = (await import(join(root, path))) as Readonly<Record<string, unknown>>;
    const exported = Object.values(loaded).filter(isTable);
    if (exported.length === 0)
      throw new Error(`${path} must export its error table, so that docs/errors.md can show it`);
    for (const rows of exported) tables.push({ path, rows });
  }
  return tables;
}

export async function errorsPage(): Promise<string> {
  const tables = await readErrorTables();
  const sections = tables.map(({ path, rows }) => {
    const lines = Object.entries(rows).map(([code, spec]) => {
      const again = spec.retryable ? 'yes' : 'no';
      return `| \`${code}\` | ${cell(spec.message)} | ${spec.status} | ${again} | ${cell(spec.hint ?? '')} |`;
    });
    return `## ${path.replace(/\/errors\.ts$/, '')}\n\n| Code | Message | HTTP | Retry | What to do |\n|---|---|---|---|---|\n${lines.join('\n')}\n`;
  });
  return `# Errors

Every error has a code that never changes its meaning and is never used again. The command line prints it in brackets behind the message
(and with \`-o json\` nothing else changes: errors are talk, on stderr); the API answers \`{ "error": { "code", "message", "hint" } }\`;
decision records and events carry it as \`reason\`. *HTTP* is the status that an API caller or a peer gets. *Retry* says whether the same call may succeed
later without anybody changing anything. An unverified peer is told only that the request was refused. Words in braces are filled in.

Made by \`npm run docs\`; a test compares.

${sections.join('\n')}`;
}

function isTable(value: unknown): value is Readonly<Record<string, ErrorSpec>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const rows = Object.values(value) as Partial<ErrorSpec>[];
  return rows.length > 0 && rows.every((row) => typeof row?.message === 'string' && typeof row.status === 'number');
}

export function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;').replaceAll('\n', ' ');
}

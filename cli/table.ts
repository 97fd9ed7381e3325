// Tables as kubectl prints them: columns by spaces, no borders, cut only to fit a terminal.
import { cleanLine, type Paint, type Tone } from './paint.ts';

export type Cell = string | number | undefined | { readonly text: string; readonly tone: Tone };

export interface Table {
  /** Titles, upper case. */
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
  /** Said on stderr instead of a table without rows. */
  readonly empty?: string;
}

export interface TableOptions {
  /** Columns of the terminal; `undefined` when the table is not going to one, so that nothing is ever cut. */
  readonly width: number | undefined;
  readonly paint: Paint;
}

const gap = 3;
const narrowest = 8;

/** The table as text, a line feed after each line; absent cells are a dash. */
export function formatTable({ columns, rows }: Table, { width, paint }: TableOptions): string {
  const cells = rows.map((row) => columns.map((_, index) => textOf(row[index])));
  const widths = columns.map((title, index) =>
    Math.max(title.length, ...cells.map((row) => widthOf(row[index]!.text))),
  );
  if (width !== undefined) shrink(widths, width);
  const line = (texts: readonly { text: string; tone?: Tone | undefined }[]): string => {
    const last = texts.length - 1;
    const parts = texts.map(({ text, tone }, index) => {
      const cut = cutTo(text, widths[index]!);
      const space = index === last ? '' : ' '.repeat(widths[index]! - widthOf(cut) + gap);
      return (tone ? paint(tone, cut) : cut) + space;
    });
    return `${parts.join('').trimEnd()}\n`;
  };
  return [columns.map((title) => ({ text: title, tone: 'bold' as const })), ...cells].map(line).join('');
}

/** One line of a stream: each cell at least as wide as it says, longer ones push the rest. */
export function lineOf(cells: readonly (readonly [cell: Cell, width: number])[], paint: Paint): string {
  const parts = cells.map(([cell, width]) => {
    const { text, tone } = textOf(cell);
    return (tone ? paint(tone, text) : text) + ' '.repeat(Math.max(0, width - widthOf(text)));
  });
  return parts.join('  ').trimEnd();
}

/** Takes columns away from the widest until the table fits or nothing can be narrower. */
function shrink(widths: number[], width: number): void {
  let excess = widths.reduce((sum, each) => sum + each, 0) + gap * (widths.length - 1) - width;
  while (excess > 0) {
    const widest = widths.indexOf(Math.max(...widths));
    if (widths[widest]! <= narrowest) return;
    widths[widest]!--;
    excess--;
  }
}

function textOf(cell: Cell): { text: string; tone?: Tone } {
  if (cell === undefined || cell === '') return { text: '-' };
  if (typeof cell === 'object') return { text: cleanLine(cell.text), tone: cell.tone };
  return { text: cleanLine(String(cell)) };
}

/** Terminal columns: characters, and two for each of the wide East Asian blocks. */
function widthOf(text: string): number {
  let width = 0;
  for (const character of text)
    width += /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60]/u.test(character)
      ? 2
      : 1;
  return width;
}

function cutTo(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  let cut = '';
  let used = 1;
  for (const character of text) {
    used += widthOf(character);
    if (used > width) break;
    cut += character;
  }
  return `${cut}…`;
}

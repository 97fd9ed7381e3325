// How a failure reads: what, where (file:line:column, the line, a caret), why, and what to do. Never a stack trace unless asked.
import { isPosternError, messageOf, type Problem } from '#base/error';
import { cleanLine, type Paint } from './paint.ts';

export interface FailureOptions {
  readonly paint: Paint;
  /** Adds the stack and the causes. */
  readonly debug: boolean;
  /** One line of a file that a person wrote, counted from 1; `undefined` when it cannot be had. */
  readonly sourceLine: (file: string, line: number) => string | undefined;
}

const mostProblems = 25;

/** The whole report of anything thrown, a line feed after each line. */
export function formatFailure(thrown: unknown, options: FailureOptions): string {
  const { paint, debug } = options;
  const lines: string[] = [];
  if (isPosternError(thrown)) {
    lines.push(`${paint('bad', 'error:')} ${cleanLine(thrown.message)} ${paint('dim', `[${cleanLine(thrown.code)}]`)}`);
    for (const problem of thrown.problems.slice(0, mostProblems)) lines.push(...formatProblem(problem, options));
    const more = thrown.problems.length - mostProblems;
    if (more > 0) lines.push(`and ${more} more`);
    if (thrown.hint) lines.push(`${paint('warn', 'hint:')} ${cleanLine(thrown.hint)}`);
  } else {
    lines.push(`${paint('bad', 'error:')} ${cleanLine(messageOf(thrown))}`);
    if (!debug) lines.push(`${paint('warn', 'hint:')} this is unexpected; run again with --debug for the details`);
  }
  if (debug) lines.push(...stackOf(thrown));
  return lines.map((line) => `${line}\n`).join('');
}

/** One problem: `file:line:column: message`, the source line with a caret, and its hint. */
export function formatProblem(problem: Problem, { paint, sourceLine }: Omit<FailureOptions, 'debug'>): string[] {
  const { file, line, column, pointer } = problem;
  const place = file ? [file, line, line && column].filter((part) => part !== undefined).join(':') : pointer;
  const lines = [`${place ? `${paint('bold', cleanLine(place))}: ` : ''}${cleanLine(problem.message)}`];
  const source = file && line ? sourceLine(file, line) : undefined;
  if (source !== undefined && line) {
    const number = String(line).padStart(5);
    const shown = cut(source.replaceAll('\t', ' '), column ?? 1);
    lines.push(`${number} | ${cleanLine(shown.text)}`);
    if (column) lines.push(`${' '.repeat(number.length)} | ${' '.repeat(shown.column - 1)}${paint('bad', '^')}`);
  }
  if (problem.hint) lines.push(`  ${paint('warn', 'hint:')} ${cleanLine(problem.hint)}`);
  return lines;
}

/** At most 120 characters around the column. */
function cut(text: string, column: number): { text: string; column: number } {
  const start = Math.max(0, column - 90);
  return { text: text.slice(start, start + 120), column: column - start };
}

function stackOf(thrown: unknown): string[] {
  const lines: string[] = [];
  for (let each: unknown = thrown, depth = 0; each instanceof Error && depth < 5; each = each.cause, depth++) {
    if (depth > 0) lines.push('caused by:');
    lines.push(...(each.stack ?? each.message).split('\n').map(cleanLine));
  }
  return lines;
}

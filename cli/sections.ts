// Several small tables under headings of their own, as `describe` and `dump` print them.
import type { Output } from './output.ts';
import type { Table } from './table.ts';

export interface Section {
  readonly title: string;
  /** Lines of words, or a table; one without rows shows its `empty`. */
  readonly body: string | Table;
}

export function formatSections(head: readonly string[], sections: readonly Section[], output: Output): string {
  const blocks = sections.map(({ title, body }) => {
    const text = typeof body === 'string' ? body : body.rows.length > 0 ? output.tableText(body) : (body.empty ?? '');
    const lines = text.trimEnd().split('\n');
    return `${output.paint('bold', title)}\n${lines.map((line) => `  ${line}`.trimEnd()).join('\n')}`;
  });
  return [head.join('\n'), ...blocks].join('\n\n');
}

/** Names and values, one pair a line, the values under each other. */
export function pairs(list: readonly (readonly [name: string, value: string | undefined])[]): string[] {
  const given = list.filter(([, value]) => value !== undefined && value !== '');
  const width = Math.max(0, ...given.map(([name]) => name.length));
  return given.map(([name, value]) => `  ${name.padEnd(width)}   ${value}`);
}

// The examples of docs/traffic.md: each with the rows of the table below it, if that is about requests.
import { readFileSync } from 'node:fs';

export interface Row {
  readonly method: string;
  /** HOST[:PORT] */
  readonly authority: string;
  /** With its query. */
  readonly path: string;
  readonly from: string;
  /** By name. */
  readonly headers: Readonly<Record<string, string>>;
  readonly route: string;
  readonly to: string;
}

export interface Example {
  readonly yaml: string;
  readonly rows: readonly Row[];
}

export function readTrafficPage(): readonly Example[] {
  const page = readFileSync(new URL('../../docs/traffic.md', import.meta.url), 'utf8');
  return page
    .split('```yaml\n')
    .filter((part) => part.startsWith('kind: VirtualService'))
    .map((part) => {
      const end = part.indexOf('```');
      const below = part.slice(end).split('\n## ')[0]!;
      const rows = [...below.matchAll(/^\| ([A-Z]+) ([^ /]+)(\/\S*) \| (\S+) \| (.*?) ?\| (.*?) ?\| (.*) \|$/gm)];
      return { yaml: part.slice(0, end), rows: rows.map(([, ...cells]) => rowOf(cells)) };
    });
}

function rowOf(cells: readonly string[]): Row {
  const [method, authority, path, from, header, route, to] = cells as [string, ...string[]] & { length: 7 };
  const [name = '', value] = header!.split(': ');
  const headers = value === undefined ? {} : { [name]: value };
  return { method, authority: authority!, path: path!, from: from!, headers, route: route!, to: to! };
}

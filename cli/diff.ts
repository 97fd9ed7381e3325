// Two texts side by side: which lines were taken out, which were put in, and a little of what is around them.

/** Lines of context before and after what differs. */
const around = 2;
/** As much as is compared line by line; what is larger is shown as taken out and put in. */
const mostCells = 4_000_000;

/** Lines that begin with `-`, `+`, or two spaces where nothing differs; `...` where lines are left out. Empty when the texts are the same. */
export function diffLines(before: readonly string[], after: readonly string[]): string[] {
  let head = 0;
  while (head < before.length && head < after.length && before[head] === after[head]) head++;
  let tail = 0;
  const least = Math.min(before.length, after.length) - head;
  while (tail < least && before.at(-1 - tail) === after.at(-1 - tail)) tail++;
  const out = before.slice(head, before.length - tail);
  const into = after.slice(head, after.length - tail);
  if (out.length === 0 && into.length === 0) return [];
  const kept = (lines: readonly string[]): string[] => lines.map((line) => `  ${line}`);
  return shorten([...kept(before.slice(0, head)), ...edits(out, into), ...kept(before.slice(before.length - tail))]);
}

/** The same value with its keys in the order of `model`, those it has not after them: files may write keys in any order. */
export function inOrderOf<T>(model: unknown, value: T): T {
  if (Array.isArray(value) && Array.isArray(model))
    return value.map((item, index) => inOrderOf(model[index], item)) as T;
  if (!isMap(value) || !isMap(model)) return value;
  const names = [...Object.keys(model).filter((name) => Object.hasOwn(value, name)), ...Object.keys(value)];
  return Object.fromEntries([...new Set(names)].map((name) => [name, inOrderOf(model[name], value[name])])) as T;
}

/** By the longest common subsequence of lines. */
function edits(out: readonly string[], into: readonly string[]): string[] {
  const [rows, columns] = [out.length, into.length];
  if (rows * columns > mostCells) return [...out.map((line) => `- ${line}`), ...into.map((line) => `+ ${line}`)];
  const width = columns + 1;
  const longest = new Uint32Array((rows + 1) * width);
  for (let row = rows - 1; row >= 0; row--) {
    for (let column = columns - 1; column >= 0; column--) {
      const at = row * width + column;
      longest[at] =
        out[row] === into[column] ? longest[at + width + 1]! + 1 : Math.max(longest[at + width]!, longest[at + 1]!);
    }
  }
  const lines: string[] = [];
  let [row, column] = [0, 0];
  while (row < rows || column < columns) {
    const at = row * width + column;
    if (row < rows && column < columns && out[row] === into[column]) {
      lines.push(`  ${out[row++]}`);
      column++;
    } else if (column === columns || (row < rows && longest[at + width]! >= longest[at + 1]!)) {
      lines.push(`- ${out[row++]}`);
    } else lines.push(`+ ${into[column++]}`);
  }
  return lines;
}

function shorten(lines: readonly string[]): string[] {
  const near = new Set<number>();
  lines.forEach((line, index) => {
    if (line.startsWith('  ')) return;
    for (let at = index - around; at <= index + around; at++) near.add(at);
  });
  const shown: string[] = [];
  lines.forEach((line, index) => {
    if (near.has(index)) shown.push(line);
    else if (near.has(index - 1) || index === 0) shown.push('...');
  });
  return shown;
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

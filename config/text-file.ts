// The text of a file that an operator wrote, or why it cannot be had. Bounded; never text that is not UTF-8.
import { readFileSync, statSync } from 'node:fs';
import { messageOf, type Problem } from '#base/error';

/** The largest file, in bytes. */
export const largestFile = 10 * 1024 * 1024;

export function readText(file: string): { readonly text: string } | { readonly problem: Problem } {
  const refuse = (message: string, at: Partial<Problem> = { line: 1, column: 1 }) => ({
    problem: { message, file, ...at },
  });
  try {
    if (statSync(file).size > largestFile) return refuse(tooLarge);
    const bytes = readFileSync(file);
    if (bytes.length > largestFile) return refuse(tooLarge);
    const text = decode(bytes);
    return typeof text === 'string' ? { text } : refuse('it is not UTF-8', text);
  } catch (thrown) {
    return refuse(`it cannot be read: ${reasonOf(thrown)}`, {});
  }
}

/** Why something of the file system failed, in words. */
export function reasonOf(thrown: unknown): string {
  const { code } = thrown as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'there is no such file or folder';
  if (code === 'EACCES') return 'permission denied';
  return messageOf(thrown);
}

const tooLarge = `it is larger than ${largestFile / 1024 / 1024} MiB; split it`;

/** The text, or the place of the first bytes that are not UTF-8. */
function decode(bytes: Uint8Array): string | { line: number; column: number } {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    const before = new TextDecoder('utf-8').decode(bytes).split('\ufffd', 1)[0]!.split('\n');
    return { line: before.length, column: before.at(-1)!.length + 1 };
  }
}

// Reads a process's `--config` file: JSON, or YAML (whose parser is loaded only then). Checks nothing but that it can be read.
import { readFileOrFail } from '#base/files';
import { fail } from './errors.ts';
import type { SettingsFile } from './settings.ts';

const largest = 1 << 20;

/** Throws `FILE_UNREADABLE`, `CONFIG_FILE_INVALID`. */
export async function readSettingsFile(file: string): Promise<SettingsFile> {
  const bytes = readFileOrFail(file);
  if (bytes.length > largest) throw fail('CONFIG_FILE_INVALID', { file, reason: 'it is larger than 1 MiB' });
  const text = bytes.toString();
  return file.endsWith('.json') ? readJson(file, text) : await readYaml(file, text);
}

function readJson(file: string, text: string): SettingsFile {
  try {
    return { file, value: JSON.parse(text), position: () => undefined };
  } catch (cause) {
    throw fail('CONFIG_FILE_INVALID', { file, reason: 'it is not JSON' }, { cause });
  }
}

async function readYaml(file: string, text: string): Promise<SettingsFile> {
  const { isMap, isScalar, LineCounter, parseDocument } = await import('yaml');
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  if (document.errors.length > 0) {
    const problems = document.errors.map(({ message, pos }) => {
      const { line, col } = lines.linePos(pos[0]);
      return { file, line, column: col, message: message.split('\n')[0]!.replace(/ at line .*$/, '') };
    });
    throw fail('CONFIG_FILE_INVALID', { file, reason: 'it is not YAML' }, { problems });
  }
  const position = (key: string) => {
    const pair = isMap(document.contents)
      ? document.contents.items.find((item) => isScalar(item.key) && item.key.value === key)
      : undefined;
    const start = isScalar(pair?.key) ? pair.key.range?.[0] : undefined;
    if (start === undefined) return undefined;
    const { line, col } = lines.linePos(start);
    return { line, column: col };
  };
  // An empty file says nothing, which is allowed.
  return { file, value: document.toJS({ maxAliasCount: 20 }) ?? {}, position };
}

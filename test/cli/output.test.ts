import { describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { PosternError } from '#base/error';
import { streamLine } from '../../cli/audit-view.ts';
import { createOutput, type OutputOptions } from '../../cli/output.ts';
import { cleanLine, createPaint } from '../../cli/paint.ts';
import { formatProblem } from '../../cli/problems.ts';
import { formatTable } from '../../cli/table.ts';
import { createSink } from '../helpers/sink.ts';

const plain = createPaint(false);
const esc = String.fromCharCode(27);

function outputWith(options: Partial<OutputOptions> = {}) {
  const stdout = createSink();
  const stderr = createSink();
  const output = createOutput({
    stdout,
    stderr,
    format: 'table',
    quiet: false,
    debug: false,
    colour: true,
    ...options,
  });
  return { output, stdout, stderr };
}

describe('tables', () => {
  const table = {
    columns: ['NAME', 'SYNC', 'CERTIFICATE'],
    rows: [
      ['web', { text: 'synced', tone: 'good' as const }, '45m'],
      ['shop/payments', { text: 'stale', tone: 'warn' as const }, undefined],
    ],
  };

  test('have aligned columns, no borders and a dash for what is absent', () => {
    expect(formatTable(table, { width: undefined, paint: plain })).toBe(
      'NAME            SYNC     CERTIFICATE\nweb             synced   45m\nshop/payments   stale    -\n',
    );
  });

  test('colours take no room', () => {
    const text = formatTable(table, { width: undefined, paint: createPaint(true) });
    const bare = text.replaceAll(new RegExp(`${esc}\\[[0-9]*m`, 'g'), '');
    expect(bare).toBe(formatTable(table, { width: undefined, paint: plain }));
  });

  test('are cut to the terminal, and never when the output is no terminal', () => {
    const long = { columns: ['A', 'B'], rows: [['x'.repeat(50), 'y']] };
    expect(formatTable(long, { width: 20, paint: plain }).split('\n')[1]).toBe(`${'x'.repeat(15)}…   y`);
    expect(formatTable(long, { width: undefined, paint: plain })).toContain('x'.repeat(50));
  });

  test('count wide characters as two columns', () => {
    const text = formatTable(
      {
        columns: ['A', 'B'],
        rows: [
          ['日本', '1'],
          ['abcd', '2'],
        ],
      },
      { width: undefined, paint: plain },
    );
    expect(text).toBe('A      B\n日本   1\nabcd   2\n');
  });

  test('an empty one says so on stderr, and stdout stays empty', () => {
    const { output, stdout, stderr } = outputWith();
    output.data({ proxies: [] }, { columns: ['A'], rows: [], empty: 'no proxies yet' });
    expect([stdout.text, stderr.text]).toEqual(['', 'no proxies yet\n']);
  });
});

describe('what others wrote', () => {
  test.each([
    [`${esc}[2Jgone`, '\\u001b[2Jgone'],
    ['a\r\nb', 'a\\u000d\\nb'],
    ['\u202eevil', '\\u202eevil'],
    ['\u009b31m', '\\u009b31m'],
    ['a\u200bb', 'a\\u200bb'],
  ])('cannot steer a terminal: %j', (hostile, shown) => {
    expect(cleanLine(hostile)).toBe(shown);
    const { output, stdout, stderr } = outputWith();
    output.data({}, { columns: ['A'], rows: [[hostile]] });
    output.error(new PosternError('X_Y', { message: '{m}', status: 500, retryable: false }, { m: hostile }));
    output.item({}, hostile);
    for (const text of [stdout.text, stderr.text]) expect(text).not.toMatch(/(?!\n)[\p{Cc}\p{Cf}]/u);
  });

  test('is harmless and exact in JSON, and harmless in YAML on a terminal', () => {
    const hostile = { path: `${esc}[2J\u009b31m\u202eevil\u007f\ttab\nline` };
    const json = outputWith({ format: 'json' });
    json.output.item(hostile, '');
    expect(json.stdout.text).not.toMatch(/(?!\n)[\p{Cc}\p{Cf}]/u);
    expect(JSON.parse(json.stdout.text)).toEqual({ version: 1, ...hostile });
    const terminal = createSink({ isTTY: true, columns: 80 });
    const yaml = outputWith({ format: 'yaml', toYaml: stringify, stdout: terminal });
    yaml.output.data(hostile, '');
    expect(terminal.text).not.toMatch(/(?!\n)[\p{Cc}\p{Cf}]/u);
    const piped = outputWith({ format: 'yaml', toYaml: stringify });
    piped.output.data(hostile, '');
    expect(parse(piped.stdout.text)).toEqual({ version: 1, ...hostile });
  });

  test('a followed record hides nothing by a colour that is not ours', () => {
    const terminal = createSink({ isTTY: true, columns: 80 });
    const { output } = outputWith({ stdout: terminal });
    output.item(
      {},
      streamLine(['12:00', `${esc}[8mhidden\nline`, { text: `deny${esc}[0m`, tone: 'bad' }], output.paint),
    );
    expect(terminal.text).toContain('\\u001b[8mhidden\\nline');
    expect(terminal.text).toContain(`${esc}[31mdeny\\u001b[0m${esc}[0m`);
  });

  test('colours of ours reach a terminal, and nothing else of the kind', () => {
    const terminal = createSink({ isTTY: true, columns: 80 });
    const { output } = outputWith({ stdout: terminal });
    output.item({}, `${output.paint('good', 'fine')} ${esc}[5;5Hmoved`);
    expect(terminal.text).toBe(`${esc}[32mfine${esc}[0m \\u001b[5;5Hmoved\n`);
  });
});

describe('formats', () => {
  test('JSON is versioned, with the keys in the order in which they were given', () => {
    const { output, stdout } = outputWith({ format: 'json' });
    output.data({ b: 1n, a: 2 }, 'for people');
    expect(stdout.text).toBe('{\n  "version": 1,\n  "b": "1",\n  "a": 2\n}\n');
  });

  test('items are one JSON document a line', () => {
    const { output, stdout } = outputWith({ format: 'json' });
    output.item({ n: 1 }, 'one');
    output.item({ n: 2 }, 'two');
    expect(stdout.text).toBe('{"version":1,"n":1}\n{"version":1,"n":2}\n');
  });

  test('talk goes to stderr, next steps only to people, and -q silences both', () => {
    const loud = outputWith();
    loud.output.say('done');
    loud.output.next('postern server');
    expect(loud.stderr.text).toBe('done\nnext: postern server\n');
    const json = outputWith({ format: 'json' });
    json.output.next('postern server');
    expect(json.stderr.text).toBe('');
    const quiet = outputWith({ quiet: true });
    quiet.output.say('done');
    quiet.output.next('postern server');
    quiet.output.warn('careful');
    expect(quiet.stderr.text).toBe('warning: careful\n');
  });

  test('no colour unless the stream is a terminal and colour is wanted', () => {
    expect(outputWith().output.paint('bad', 'x')).toBe('x');
    const terminal = createSink({ isTTY: true });
    expect(outputWith({ stdout: terminal }).output.paint('bad', 'x')).toBe(`${esc}[31mx${esc}[0m`);
    expect(outputWith({ stdout: terminal, colour: false }).output.paint('bad', 'x')).toBe('x');
  });

  test('a spinner turns on a terminal only', () => {
    const { output, stderr } = outputWith();
    output.spin('checking')();
    expect(stderr.text).toBe('');
    const terminal = createSink({ isTTY: true });
    outputWith({ stderr: terminal }).output.spin('checking')();
    expect(terminal.text).toContain('⠋ checking');
  });
});

describe('failures', () => {
  const sourceLine = (file: string, line: number) =>
    file === 'p.yaml' && line === 7 ? '  - form: [checkout]' : undefined;

  test('point at the place, with the line and a caret', () => {
    const problem = { message: 'unknown key "form"', file: 'p.yaml', line: 7, column: 5, hint: 'did you mean from?' };
    expect(formatProblem(problem, { paint: plain, sourceLine })).toEqual([
      'p.yaml:7:5: unknown key "form"',
      '    7 |   - form: [checkout]',
      '      |     ^',
      '  hint: did you mean from?',
    ]);
  });

  test('never show a stack, but with --debug', () => {
    const thrown = new TypeError('odd');
    const { output, stderr } = outputWith();
    output.error(thrown);
    expect(stderr.text).toBe('error: odd\nhint: this is unexpected; run again with --debug for the details\n');
    const debug = outputWith({ debug: true });
    debug.output.error(thrown);
    expect(debug.stderr.text).toContain('output.test.ts');
  });

  test('show at most 25 problems and count the rest', () => {
    const problems = Array.from({ length: 30 }, (_, index) => ({ message: `problem ${index}` }));
    const { output, stderr } = outputWith();
    output.error(new PosternError('X_Y', { message: 'bad', status: 400, retryable: false }, {}, { problems }));
    expect(stderr.text).toContain('problem 24\nand 5 more\n');
  });
});

test('a reader that has gone is told once, and later words are dropped', () => {
  const { output, stdout } = outputWith();
  let closed = 0;
  output.onClosed(() => closed++);
  stdout.fail(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
  output.raw('more');
  expect([closed, stdout.text]).toEqual([1, '']);
});

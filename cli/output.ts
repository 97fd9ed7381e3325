// Every word that a person or a script reads: data to stdout, talk to stderr. The only file that writes to either.
// A reader that went away (EPIPE) is not an error: what follows is dropped, and `onClosed` is told.
import { readFileSync, statSync } from 'node:fs';
import { cleanText, createPaint, type Paint } from './paint.ts';
import { formatFailure } from './problems.ts';
import { formatTable, type Table } from './table.ts';

export type Format = 'table' | 'json' | 'yaml';
/** What -o takes: `wide` is a table with everything. */
export const formats = ['table', 'wide', 'json', 'yaml'] as const;

export interface Sink {
  write(text: string | Uint8Array): unknown;
  on(event: 'error', listener: (error: NodeJS.ErrnoException) => void): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export interface OutputOptions {
  readonly stdout: Sink;
  readonly stderr: Sink;
  readonly format: (typeof formats)[number];
  readonly quiet: boolean;
  readonly debug: boolean;
  /** False for --no-color, NO_COLOR and TERM=dumb; a stream that is no terminal is never coloured. */
  readonly colour: boolean;
  /** Present when the format is YAML: loaded by whoever chose it. */
  readonly toYaml?: ((value: unknown) => string) | undefined;
}

export interface Output {
  readonly format: Format;
  /** Whether people asked for all columns. */
  readonly wide: boolean;
  /** Colours for text that goes to stdout. */
  readonly paint: Paint;
  /** Colours for text that goes to stderr. */
  readonly paintTalk: Paint;
  /** Whether a person reads stderr on a terminal. */
  readonly interactive: boolean;
  /** One whole result. JSON and YAML show `{ version: 1, ...value }`: keys may be added, never renamed. People see `human`. */
  data(value: object, human: Table | string): void;
  /** One of many results as they come: a JSON or YAML document of its own, or a line for people. */
  item(value: object, human: string): void;
  /** One of several looks at the same: a document each; on a terminal the new one stands in place of the old. */
  frame(value: object, human: Table): void;
  /** The table as it would be printed. */
  tableText(table: Table): string;
  /** Text or bytes to stdout as they are, whatever the format: PEM, scripts. */
  raw(content: string | Uint8Array): void;
  /** Talk: what was done, for people. Silenced by -q. */
  say(text: string): void;
  /** The command to run next. Silenced by -q and outside of `-o table`. */
  next(command: string, why?: string): void;
  warn(text: string): void;
  hint(text: string): void;
  /** A line of the operations log. */
  log(line: string): void;
  /** A failure with its problems, source lines and hint. */
  error(thrown: unknown): void;
  /** Says that something is going on, on a terminal only; the result takes it away again. */
  spin(text: string): () => void;
  /** Called once when the reader of stdout has gone. */
  onClosed(listener: () => void): void;
}

const clearScreen = `${String.fromCharCode(27)}[2J${String.fromCharCode(27)}[H`;
/** The version of every JSON shape that the command line prints. */
const outputVersion = 1;

export function createOutput(options: OutputOptions): Output {
  const { stdout, stderr, quiet, debug } = options;
  const format: Format = options.format === 'wide' ? 'table' : options.format;
  const colourOut = options.colour && stdout.isTTY === true;
  const colourErr = options.colour && stderr.isTTY === true;
  const paint = createPaint(colourOut);
  const paintErr = createPaint(colourErr);
  const listeners: (() => void)[] = [];
  let closed = false;
  const guard = (): void => {
    if (closed) return;
    closed = true;
    for (const listener of listeners) listener();
  };
  const out = (content: string | Uint8Array): void => {
    if (!closed) write(stdout, content, guard);
  };
  const err = (text: string): void => write(stderr, cleanText(text, colourErr), () => undefined);
  stdout.on('error', guard);
  stderr.on('error', () => undefined);
  const document = (value: object, indent: number): string => {
    const versioned = { version: outputVersion, ...value };
    if (format !== 'yaml' || !options.toYaml) return `${cleanText(JSON.stringify(versioned, plain, indent), false)}\n`;
    // Escapes are exact in JSON only: what a program reads as YAML is left as it is.
    const text = options.toYaml(versioned);
    return stdout.isTTY ? cleanText(text, false) : text;
  };
  const human = (view: Table | string): void => {
    if (typeof view === 'string') return out(ended(cleanText(view, colourOut)));
    if (view.rows.length > 0 || !view.empty)
      out(formatTable(view, { width: stdout.isTTY ? stdout.columns : undefined, paint }));
    else if (!quiet) err(ended(view.empty));
  };
  return {
    format,
    wide: options.format === 'wide',
    paint,
    paintTalk: paintErr,
    interactive: stderr.isTTY === true,
    data: (value, view) => (format === 'table' ? human(view) : out(document(value, 2))),
    item: (value, line) => {
      if (format === 'table') return human(line);
      out(format === 'yaml' ? `---\n${document(value, 0)}` : document(value, 0));
    },
    frame(value, view) {
      if (format !== 'table') return out(format === 'yaml' ? `---\n${document(value, 0)}` : document(value, 0));
      if (stdout.isTTY) out(clearScreen);
      human(view);
    },
    tableText: (view) => formatTable(view, { width: stdout.isTTY ? stdout.columns : undefined, paint }),
    raw: out,
    say: (text) => {
      if (!quiet) err(ended(text));
    },
    next: (command, why) => {
      if (!quiet && format === 'table')
        err(`${paintErr('dim', 'next:')} ${command}${why ? paintErr('dim', `   # ${why}`) : ''}\n`);
    },
    warn: (text) => err(`${paintErr('warn', 'warning:')} ${ended(text)}`),
    hint: (text) => err(`${paintErr('warn', 'hint:')} ${ended(text)}`),
    log: (line) => err(ended(line)),
    error: (thrown) => err(formatFailure(thrown, { paint: paintErr, debug, sourceLine })),
    spin: (text) => (stderr.isTTY && !quiet ? spin(stderr, text) : () => undefined),
    onClosed: (listener) => {
      if (closed) listener();
      else listeners.push(listener);
    },
  };
}

function write(sink: Sink, content: string | Uint8Array, failed: () => void): void {
  try {
    sink.write(content);
  } catch {
    failed();
  }
}

function spin(stderr: Sink, text: string): () => void {
  const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
  let turn = 0;
  const draw = (): void => void stderr.write(`\r${frames[turn++ % frames.length]} ${text}`);
  draw();
  const timer = setInterval(draw, 100);
  timer.unref();
  return () => {
    clearInterval(timer);
    stderr.write(`\r${' '.repeat(text.length + 2)}\r`);
  };
}

/** A line of a regular file of at most 4 MiB; anything else has no line to show. */
function sourceLine(file: string, line: number): string | undefined {
  try {
    const facts = statSync(file);
    if (!facts.isFile() || facts.size > 4 << 20) return undefined;
    return readFileSync(file, 'utf8').split(/\r?\n/)[line - 1];
  } catch {
    return undefined;
  }
}

function plain(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value;
}

function ended(text: string): string {
  return text === '' || text.endsWith('\n') ? text : `${text}\n`;
}

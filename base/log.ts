// The operations log: one JSON object a line, for people and machines that run Postern. Not the decision log, and never a secret.

export type Level = 'debug' | 'info' | 'warn' | 'error';
export type Fields = Readonly<Record<string, unknown>>;

export interface Log {
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
  /** A log whose every line also carries these fields. */
  with(fields: Fields): Log;
}

export interface LogOptions {
  readonly level: Level;
  readonly write: (line: string) => void;
  readonly now: () => number;
}

const rank: Readonly<Record<Level, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

export function createLog(options: LogOptions, bound: Fields = {}): Log {
  const line = (level: Level, message: string, fields: Fields | undefined): void => {
    if (rank[level] < rank[options.level]) return;
    const record = { time: new Date(options.now()).toISOString(), level, message, ...bound, ...fields };
    options.write(`${JSON.stringify(record, plain)}\n`);
  };
  return {
    debug: (message, fields) => line('debug', message, fields),
    info: (message, fields) => line('info', message, fields),
    warn: (message, fields) => line('warn', message, fields),
    error: (message, fields) => line('error', message, fields),
    with: (fields) => createLog(options, { ...bound, ...fields }),
  };
}

export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  with: () => silentLog,
};

function plain(_: string, value: unknown): unknown {
  if (value instanceof Error) return { message: value.message, code: (value as { code?: unknown }).code };
  return typeof value === 'bigint' ? value.toString() : value;
}

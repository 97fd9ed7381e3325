// A stream that keeps what is written to it, as stdout and stderr for the command line.
import type { Sink } from '../../cli/output.ts';

export interface KeptSink extends Sink {
  readonly text: string;
  /** Fails as a closed pipe would. */
  fail(error: NodeJS.ErrnoException): void;
}

export function createSink(terminal: { readonly isTTY?: boolean; readonly columns?: number } = {}): KeptSink {
  let text = '';
  const listeners: ((error: NodeJS.ErrnoException) => void)[] = [];
  return {
    ...terminal,
    get text() {
      return text;
    },
    write: (content) => {
      text += typeof content === 'string' ? content : Buffer.from(content).toString();
    },
    on: (_, listener) => listeners.push(listener),
    fail: (error) => {
      for (const listener of listeners) listener(error);
    },
  };
}

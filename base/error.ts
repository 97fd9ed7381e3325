// The one error class. Every folder's errors.ts is a table of codes made with `defineErrors`; codes are public and never reused.
// Details must be safe to log; `exposed` is all that an unverified peer may ever be told.

export type Detail = string | number | boolean | null | undefined;

/** One row of a folder's error table. */
export interface ErrorSpec {
  /** Lower case, no period; `{name}` is replaced from the details. */
  readonly message: string;
  /** What to do next, as the CLI's `hint:` line; `{name}` is replaced too. */
  readonly hint?: string;
  /** HTTP status for a caller. */
  readonly status: number;
  /** Whether the same call may succeed later without anybody changing anything. */
  readonly retryable: boolean;
  /** What an unauthenticated peer is told; by default only that the request was refused. */
  readonly exposed?: string;
}

export interface ErrorOptions {
  readonly cause?: unknown;
  /** Several located problems, when one code reports them all at once. */
  readonly problems?: readonly Problem[];
}

/** One located fault in something a person wrote. Lines and columns count from 1. */
export interface Problem {
  readonly message: string;
  readonly file?: string;
  readonly line?: number;
  readonly column?: number;
  /** Where in the value, as a JSON pointer (RFC 6901). */
  readonly pointer?: string;
  readonly hint?: string;
}

export class PosternError extends Error {
  readonly code: string;
  readonly status: number;
  readonly retryable: boolean;
  readonly hint: string | undefined;
  readonly exposed: string;
  readonly details: Readonly<Record<string, Detail>>;
  readonly problems: readonly Problem[];

  constructor(code: string, spec: ErrorSpec, details: Readonly<Record<string, Detail>>, options: ErrorOptions = {}) {
    super(fill(spec.message, details), options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'PosternError';
    this.code = code;
    this.status = spec.status;
    this.retryable = spec.retryable;
    this.hint = spec.hint === undefined ? undefined : fill(spec.hint, details);
    this.exposed = spec.exposed ?? 'the request was refused';
    this.details = details;
    this.problems = options.problems ?? [];
  }
}

/** Makes a folder's error factory from its table: `throw fail('TOKEN_USED', { id })`. */
export function defineErrors<const T extends Readonly<Record<string, ErrorSpec>>>(table: T) {
  return (
    code: keyof T & string,
    details: Readonly<Record<string, Detail>> = {},
    options: ErrorOptions = {},
  ): PosternError => new PosternError(code, table[code] as ErrorSpec, details, options);
}

/** True for a `PosternError`, and for one with this code when a code is given. */
export function isPosternError(value: unknown, code?: string): value is PosternError {
  return value instanceof PosternError && (code === undefined || value.code === code);
}

/** The words of anything thrown, without its stack. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

function fill(template: string, details: Readonly<Record<string, Detail>>): string {
  return template.replace(/\{(\w+)\}/g, (_, name: string) => String(details[name] ?? ''));
}

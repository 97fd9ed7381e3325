// What one health check is. The shape is public: `postern check -o json` prints it.
import { isPosternError, messageOf } from '#base/error';

export type CheckResult = 'success' | 'warning' | 'error';

export interface Check {
  readonly description: string;
  readonly result: CheckResult;
  /** What is not well, in words. */
  readonly error?: string;
  /** What to do about it. */
  readonly hint?: string;
}

export interface CheckCategory {
  readonly categoryName: string;
  readonly checks: readonly Check[];
}

/** What a question may answer: nothing when all is well. */
export type Finding =
  | { readonly result: Exclude<CheckResult, 'success'>; readonly error: string; readonly hint?: string }
  | undefined;

/** Asks one question; whatever it throws is an error with its own hint. */
export async function ask(description: string, question: () => Finding | Promise<Finding>): Promise<Check> {
  try {
    const finding = await question();
    return finding ? { description, ...finding } : { description, result: 'success' };
  } catch (thrown) {
    const hint = isPosternError(thrown) ? thrown.hint : undefined;
    return { description, result: 'error', error: messageOf(thrown), ...(hint === undefined ? {} : { hint }) };
  }
}

export function warning(error: string, hint?: string): Finding {
  return { result: 'warning', error, ...(hint === undefined ? {} : { hint }) };
}

export function failure(error: string, hint?: string): Finding {
  return { result: 'error', error, ...(hint === undefined ? {} : { hint }) };
}

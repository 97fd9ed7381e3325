// What a path in a rule covers. A template is written in the one canonical form that requests have when policy sees them, or it is refused:
// a template that can never match is a hole, not a detail.

/** One step of a path: a literal segment (the empty one is a trailing slash), or any one segment that is not empty. */
export type Step = { readonly literal: string } | { readonly parameter: string };

export interface Template {
  readonly steps: readonly Step[];
  /** True for `/**` at the end: the steps, and anything below them. */
  readonly rest: boolean;
}

/** The template, or (as a string) why the text is not one. */
export function readTemplate(text: string): Template | string {
  if (!text.startsWith('/')) return 'it does not start with /';
  const segments = text.slice(1).split('/');
  const rest = segments.at(-1) === '**';
  if (rest) segments.pop();
  const steps: Step[] = [];
  for (const segment of segments) {
    const step = readStep(segment, steps.length === segments.length - 1 && !rest);
    if (typeof step === 'string') return step;
    if ('parameter' in step && step.parameter !== '*' && isAmong(steps, step.parameter)) {
      return `{${step.parameter}} is there twice`;
    }
    steps.push(step);
  }
  return { steps, rest };
}

function isAmong(steps: readonly Step[], parameter: string): boolean {
  return steps.some((step) => 'parameter' in step && step.parameter === parameter);
}

/** Why a path is not in the one form that requests have when policy sees them; `undefined` when it is. */
export function pathFault(path: string): string | undefined {
  const template = readTemplate(path);
  return typeof template === 'string' ? template : undefined;
}

function readStep(segment: string, last: boolean): Step | string {
  if (/^[\w-][\w.~-]*$/.test(segment)) return { literal: segment };
  if (segment === '') return last ? { literal: '' } : 'it has an empty segment (//)';
  if (segment === '*') return { parameter: '*' };
  if (segment === '**') return '** can only be the last segment';
  const parameter = /^\{([A-Za-z_][A-Za-z0-9_-]*)\}$/.exec(segment)?.[1];
  if (parameter) return { parameter };
  return literalFault(segment) ?? { literal: segment };
}

function literalFault(segment: string): string | undefined {
  if (segment.includes('*')) return `* must be a whole segment, not a part of ${JSON.stringify(segment)}`;
  if (/[{}]/.test(segment)) return `a parameter is a whole segment, such as {id}, not ${JSON.stringify(segment)}`;
  if (segment.includes('?')) return 'it has a query; policies see the path alone';
  if (segment.includes('#')) return 'it has a fragment; requests with one are refused';
  if (segment.includes(';')) return 'it has a path parameter (;); requests with one are refused';
  const wrong = /[^A-Za-z0-9._~!$&'()+,=:@%-]/u.exec(segment);
  if (wrong) return `${JSON.stringify(wrong[0])} cannot be in a path; write it percent-encoded`;
  for (const [encoded] of segment.matchAll(/%.{0,2}/g)) {
    const fault = encodingFault(encoded);
    if (fault) return fault;
  }
  if (!isUtf8(segment)) return 'its percent-encoded bytes are not UTF-8; requests like that are refused';
  return segment === '.' || segment === '..' ? `it has a ${segment} segment` : undefined;
}

/** Requests have every character that a path may hold decoded and the rest in upper-case hex; encoded separators and controls are refused. */
function encodingFault(encoded: string): string | undefined {
  if (!/^%[0-9A-Fa-f]{2}$/.test(encoded)) return `${encoded} is not a percent-encoding`;
  const code = Number.parseInt(encoded.slice(1), 16);
  const character = String.fromCharCode(code);
  if (code < 0x20 || code === 0x7f || '/\\;?#%'.includes(character)) return `requests with ${encoded} are refused`;
  if (character === '*') return 'a * cannot be told from any other segment; use * or {name} for the whole segment';
  if (/[A-Za-z0-9._~!$&'()+,=:@-]/.test(character)) return `${encoded} is ${character}; write it so`;
  return encoded === encoded.toUpperCase() ? undefined : `write ${encoded.toUpperCase()}, as requests have it`;
}

function isUtf8(segment: string): boolean {
  try {
    decodeURIComponent(segment);
    return true;
  } catch {
    return false;
  }
}

// What the fields of a Casbin request are taken from. A request that lacks one, or has it in more than one way, has no answer: that is a deny.
import { readConditionKey, trimmed } from '../condition.ts';
import type { Question } from '../program.ts';

/** What a field without a word about it is taken from, by its usual name. */
const usual: Readonly<Record<string, string>> = {
  sub: 'from.service',
  obj: 'path',
  act: 'method',
  dom: 'to.service',
};

const plain = ['from', 'from.service', 'to', 'to.service', 'method', 'path', 'port'] as const;

export interface FieldSource {
  readonly field: string;
  readonly source: string;
  /** In lower case for a header; of a claim, its path. */
  readonly name: string;
  readonly kind: 'plain' | 'header' | 'claim';
}

/** Where each field comes from, or (as a string) why it cannot be told. */
export function readFieldSources(
  fields: readonly string[],
  given: Readonly<Record<string, string>>,
): FieldSource[] | string {
  const unknown = Object.keys(given).find((field) => !fields.includes(field));
  if (unknown !== undefined) return `the model's requests have no field ${unknown}`;
  const sources: FieldSource[] = [];
  for (const field of fields) {
    const source = Object.hasOwn(given, field)
      ? given[field]!
      : Object.hasOwn(usual, field)
        ? usual[field]!
        : undefined;
    if (source === undefined)
      return `say what ${field} is taken from: ${plain.join(', ')}, header:NAME or jwt:claims.NAME`;
    if ((plain as readonly string[]).includes(source)) {
      sources.push({ field, source, name: '', kind: 'plain' });
      continue;
    }
    const read = readConditionKey(source);
    if ('fault' in read || (read.kind !== 'header' && read.kind !== 'claim')) {
      return `${field}: ${'fault' in read && /^(header|jwt):/.test(source) ? read.fault : `it is taken from ${plain.join(', ')}, header:NAME or jwt:claims.NAME`}`;
    }
    sources.push({ field, source, name: read.name, kind: read.kind });
  }
  return sources;
}

/** The value of each field; `undefined` when any is missing, empty, there twice or a list. */
export function fieldValues(
  sources: readonly FieldSource[],
  question: Question,
  trustDomain: string,
): string[] | undefined {
  const values: string[] = [];
  for (const { source, kind, name } of sources) {
    const value =
      kind === 'header'
        ? single(question.headers(name))
        : kind === 'claim'
          ? onlyOne(question.claims?.(name))
          : plainValue(source, question, trustDomain);
    if (value === undefined || value === '') return undefined;
    values.push(value);
  }
  return values;
}

function plainValue(
  source: string,
  { from, to, method, path, port }: Question,
  trustDomain: string,
): string | undefined {
  const nameOf = (id: string): string => {
    const own = `spiffe://${trustDomain}/`;
    // Whoever is of another trust domain keeps the whole ID, and so never passes for a service of that name here.
    return id.startsWith(own) ? id.slice(own.length) : id;
  };
  switch (source) {
    case 'from':
      return from;
    case 'from.service':
      return nameOf(from);
    case 'to':
      return to;
    case 'to.service':
      return nameOf(to);
    case 'method':
      return method;
    case 'path':
      return path;
    default:
      return port === undefined ? undefined : String(port);
  }
}

/** A header that is there once, and is no list: of several values casbin would see one. */
function single(values: readonly string[]): string | undefined {
  const value = onlyOne(values);
  return value === undefined || value.includes(',') ? undefined : trimmed(value);
}

function onlyOne(values: readonly string[] | undefined): string | undefined {
  return values?.length === 1 ? values[0] : undefined;
}

// One strict description of a value, used three ways: as its TypeScript type, as JSON Schema (2020-12) for editors and docs, and as a
// checker that reports every problem at once. Objects refuse unknown keys. Small on purpose: see docs/design/dependencies.md.
import type { Problem } from './error.ts';
import { suggest } from './suggest.ts';

declare const typed: unique symbol;

export interface JsonSchema {
  readonly type?: 'string' | 'integer' | 'number' | 'boolean' | 'array' | 'object' | 'null';
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly JsonSchema[];
  readonly pattern?: string;
  /** What the pattern means, in words; used in messages. */
  readonly title?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly items?: JsonSchema;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly uniqueItems?: boolean;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | JsonSchema;
  readonly maxProperties?: number;
}

/** A JSON Schema that knows the type it describes. */
export type Schema<T> = JsonSchema & { readonly [typed]?: T };
export type Static<S> = S extends { readonly [typed]?: infer T } ? Exclude<T, undefined> : never;

interface Optional<T> {
  readonly optional: Schema<T>;
}
type Fields = Readonly<Record<string, Schema<unknown> | Optional<unknown>>>;
type ObjectOf<F extends Fields> = Show<
  { readonly [K in keyof F as F[K] extends Optional<unknown> ? never : K]: Static<F[K]> } & {
    readonly [K in keyof F as F[K] extends Optional<unknown> ? K : never]?: F[K] extends Optional<infer T> ? T : never;
  }
>;
type Show<T> = { [K in keyof T]: T[K] };
type StringRules = Pick<JsonSchema, 'description' | 'default' | 'pattern' | 'title' | 'minLength' | 'maxLength'>;
type NumberRules = Pick<JsonSchema, 'description' | 'default' | 'minimum' | 'maximum'>;
type ArrayRules = Pick<JsonSchema, 'description' | 'default' | 'minItems' | 'maxItems' | 'uniqueItems'>;
type ObjectRules = Pick<JsonSchema, 'description' | 'maxProperties'>;

export const s = {
  string: (rules: StringRules = {}): Schema<string> => ({ type: 'string', ...rules }),
  integer: (rules: NumberRules = {}): Schema<number> => ({ type: 'integer', ...rules }),
  number: (rules: NumberRules = {}): Schema<number> => ({ type: 'number', ...rules }),
  boolean: (rules: Pick<JsonSchema, 'description' | 'default'> = {}): Schema<boolean> => ({
    type: 'boolean',
    ...rules,
  }),
  nothing: (): Schema<null> => ({ type: 'null' }),
  literal: <const T extends string | number | boolean>(value: T): Schema<T> => ({ const: value }),
  enum: <const T extends readonly string[]>(
    values: T,
    rules: Pick<JsonSchema, 'description' | 'default'> = {},
  ): Schema<T[number]> => ({
    type: 'string',
    enum: values,
    ...rules,
  }),
  array: <T>(items: Schema<T>, rules: ArrayRules = {}): Schema<readonly T[]> => ({ type: 'array', items, ...rules }),
  record: <T>(values: Schema<T>, rules: ObjectRules = {}): Schema<Readonly<Record<string, T>>> => ({
    type: 'object',
    additionalProperties: values,
    ...rules,
  }),
  anyOf: <const T extends readonly Schema<unknown>[]>(...schemas: T): Schema<Static<T[number]>> => ({ anyOf: schemas }),
  /** Any JSON value; its own checker must follow. */
  unknown: (description = ''): Schema<unknown> => ({ description }),
  optional: <T>(schema: Schema<T>): Optional<T> => ({ optional: schema }),
  object: <F extends Fields>(fields: F, rules: ObjectRules = {}): Schema<ObjectOf<F>> => ({
    type: 'object',
    properties: Object.fromEntries(
      Object.entries(fields).map(([name, field]) => [name, isOptional(field) ? field.optional : field]),
    ),
    required: Object.keys(fields).filter((name) => !isOptional(fields[name]!)),
    additionalProperties: false,
    ...rules,
  }),
};

/** More problems than this are not looked for: a message made of nothing else must not cost more than its parsing. */
export const mostProblems = 1_000;

/** Every way in which `value` is not what `schema` describes, up to `mostProblems`; empty when it is. Pointers are JSON pointers from the value's root. */
export function check(schema: JsonSchema, value: unknown, pointer = ''): Problem[] {
  const problems: Problem[] = [];
  visit(schema, value, pointer, problems);
  return problems;
}

/** Narrows `value` when `check` finds nothing. */
export function isValid<T>(schema: Schema<T>, value: unknown): value is T {
  return check(schema, value).length === 0;
}

/** One more step of a JSON pointer (RFC 6901 section 3). */
export function pointerTo(parent: string, key: string | number): string {
  return `${parent}/${String(key).replaceAll('~', '~0').replaceAll('/', '~1')}`;
}

function visit(schema: JsonSchema, value: unknown, pointer: string, problems: Problem[]): void {
  const report = (message: string, hint?: string): void =>
    void problems.push({ message, pointer, ...(hint ? { hint } : {}) });
  if (schema.anyOf) return visitAny(schema.anyOf, value, pointer, problems);
  if ('const' in schema && value !== schema.const) return report(`must be ${show(schema.const)}, not ${show(value)}`);
  if (schema.type && !hasType(schema.type, value))
    return report(`must be ${article(schema.type)}, not ${kindOf(value)}`);
  if (schema.enum && !schema.enum.includes(value)) {
    const near = suggest(String(value), schema.enum.map(String));
    return report(`must be one of ${schema.enum.join(', ')}, not ${show(value)}`, near && `did you mean ${near}?`);
  }
  if (typeof value === 'string') visitString(schema, value, report);
  else if (typeof value === 'number') {
    if (schema.minimum !== undefined && value < schema.minimum) report(`must be at least ${schema.minimum}`);
    if (schema.maximum !== undefined && value > schema.maximum) report(`must be at most ${schema.maximum}`);
  } else if (Array.isArray(value)) visitArray(schema, value, pointer, problems, report);
  else if (isObject(value) && schema.type === 'object') visitObject(schema, value, pointer, problems, report);
}

type Report = (message: string, hint?: string) => void;

function visitAny(schemas: readonly JsonSchema[], value: unknown, pointer: string, problems: Problem[]): void {
  let closest: Problem[] | undefined;
  for (const schema of schemas) {
    const found = check(schema, value, pointer);
    if (found.length === 0) return;
    const deeper = found.some((problem) => problem.pointer !== pointer);
    if (!closest || deeper) closest = found;
  }
  problems.push(...(closest ?? []));
}

function visitString(schema: JsonSchema, value: string, report: Report): void {
  if (schema.minLength !== undefined && value.length < schema.minLength) {
    report(schema.minLength === 1 ? 'must not be empty' : `must be at least ${schema.minLength} characters long`);
  } else if (schema.maxLength !== undefined && value.length > schema.maxLength) {
    report(`must be at most ${schema.maxLength} characters long`);
  } else if (schema.pattern !== undefined && !new RegExp(schema.pattern, 'u').test(value)) {
    report(`must be ${schema.title ?? `text that matches ${schema.pattern}`}, not ${show(value)}`);
  }
}

function visitArray(
  schema: JsonSchema,
  value: readonly unknown[],
  pointer: string,
  problems: Problem[],
  report: Report,
): void {
  if (schema.minItems !== undefined && value.length < schema.minItems) {
    report(schema.minItems === 1 ? 'must not be empty' : `must have at least ${schema.minItems} entries`);
  }
  if (schema.maxItems !== undefined && value.length > schema.maxItems)
    return report(`must have at most ${schema.maxItems} entries`);
  if (schema.uniqueItems) {
    const seen = new Set<unknown>();
    value.forEach((item, index) => {
      if (seen.has(item) && problems.length < mostProblems)
        problems.push({ message: `${show(item)} is listed twice`, pointer: pointerTo(pointer, index) });
      seen.add(item);
    });
  }
  if (!schema.items) return;
  for (const [index, item] of value.entries()) {
    if (problems.length >= mostProblems) return;
    visit(schema.items, item, pointerTo(pointer, index), problems);
  }
}

function visitObject(
  schema: JsonSchema,
  value: Readonly<Record<string, unknown>>,
  pointer: string,
  problems: Problem[],
  report: Report,
): void {
  const known = schema.properties ?? {};
  const names = Object.keys(value);
  if (schema.maxProperties !== undefined && names.length > schema.maxProperties)
    report(`must have at most ${schema.maxProperties} keys`);
  for (const name of schema.required ?? []) if (!Object.hasOwn(value, name)) report(`${name} is missing`);
  for (const name of names) {
    if (problems.length >= mostProblems) return;
    const at = pointerTo(pointer, name);
    if (Object.hasOwn(known, name)) {
      if (value[name] !== undefined) visit(known[name]!, value[name], at, problems);
    } else if (isObject(schema.additionalProperties)) {
      visit(schema.additionalProperties, value[name], at, problems);
    } else if (schema.additionalProperties !== true) {
      const near = suggest(name, Object.keys(known));
      problems.push({
        message: `unknown key ${show(name)}`,
        pointer: at,
        hint: near ? `did you mean ${near}?` : `known keys: ${Object.keys(known).join(', ')}`,
      });
    }
  }
}

function isOptional(field: Schema<unknown> | Optional<unknown>): field is Optional<unknown> {
  return 'optional' in field;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function hasType(type: NonNullable<JsonSchema['type']>, value: unknown): boolean {
  if (type === 'integer') return Number.isSafeInteger(value);
  if (type === 'number') return typeof value === 'number' && Number.isFinite(value);
  if (type === 'array') return Array.isArray(value);
  if (type === 'object') return isObject(value);
  return type === 'null' ? value === null : typeof value === type;
}

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'a map' : show(value);
}

function article(type: string): string {
  const words: Readonly<Record<string, string>> = {
    array: 'a list',
    object: 'a map',
    integer: 'a whole number',
    null: 'null',
  };
  return words[type] ?? (type === 'boolean' ? 'true or false' : `a ${type}`);
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

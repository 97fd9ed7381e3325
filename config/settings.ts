// How the settings of a process come together: flag, else POSTERN_* variable, else file, else default. Every problem at once, with its place;
// unknown keys of a file are refused. The result is frozen, and shows no secret when it is printed.
import type { Problem } from '#base/error';
import { check, type JsonSchema, type Schema } from '#base/schema';
import { suggest } from '#base/suggest';
import type { Environment } from './environment.ts';
import { fail } from './errors.ts';

export interface Setting<T> {
  readonly schema: Schema<T>;
  /** What stands for the value in help, such as `HOST:PORT`. */
  readonly value: string;
  /** Without the dashes; the key in kebab case unless said otherwise. */
  readonly flag?: string;
  /** Never printed. */
  readonly secret?: boolean;
  readonly optional: boolean;
}
export type Settings = Readonly<Record<string, Setting<unknown>>>;
export type ValuesOf<S extends Settings> = { readonly [K in keyof S]: S[K] extends Setting<infer T> ? T : never };

type Looks = Pick<Setting<unknown>, 'value'> & Partial<Pick<Setting<unknown>, 'flag' | 'secret'>>;

/** A setting that always has a value: its schema has a default. */
export function setting<T>(schema: Schema<T>, looks: Looks): Setting<T> {
  return { schema, ...looks, optional: false };
}

/** A setting that may be absent. */
export function optionalSetting<T>(schema: Schema<T>, looks: Looks): Setting<T | undefined> {
  return { schema: schema as Schema<T | undefined>, ...looks, optional: true };
}

/** One setting as a flag, a variable and a file key, for the command line and the reference documentation. */
export interface SettingFacts {
  readonly key: string;
  readonly flag: string;
  readonly variable: string;
  readonly value: string;
  readonly kind: 'text' | 'number' | 'switch' | 'pairs' | 'list';
  readonly description: string;
  readonly default: unknown;
  readonly secret: boolean;
}

export function factsOf(settings: Settings): readonly SettingFacts[] {
  return Object.entries(settings).map(([key, { schema, flag, value, secret }]) => ({
    key,
    flag: flag ?? key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
    variable: `POSTERN_${key.replace(/[A-Z]/g, '_$&').toUpperCase()}`,
    value,
    kind: kindOf(schema),
    description: schema.description ?? '',
    default: schema.default,
    secret: secret === true,
  }));
}

/** What a settings file says, and where. */
export interface SettingsFile {
  readonly file: string;
  readonly value: unknown;
  readonly position: (key: string) => { readonly line: number; readonly column: number } | undefined;
}

export interface SettingsInput {
  /** By setting key: text as typed, `true` for switches, a list of `name=value` for pairs. */
  readonly flags: Readonly<Record<string, unknown>>;
  readonly env: Environment;
  readonly file?: SettingsFile | undefined;
}

export interface ReadOptions<S extends Settings> extends SettingsInput {
  readonly process: string;
  readonly settings: S;
  /** Checks across settings; only asked when each by itself is right. */
  readonly contradictions: readonly ((values: ValuesOf<S>) => string | undefined)[];
}

/** Throws `CONFIG_INVALID` with every problem. */
export function readSettings<const S extends Settings>(options: ReadOptions<S>): ValuesOf<S> {
  const { process, settings, flags, env, file, contradictions } = options;
  const problems: Problem[] = fileProblems(settings, file);
  const values: Record<string, unknown> = {};
  for (const { key, flag, variable, kind, value: looks, default: fallback } of factsOf(settings)) {
    const { schema } = settings[key]!;
    const fromFile = (file?.value as Record<string, unknown> | undefined)?.[key];
    const [said, name, place] =
      flags[key] !== undefined
        ? [readText(kind, flags[key], schema), `--${flag}`, {}]
        : env[variable] !== undefined
          ? [readText(kind, env[variable], schema), variable, {}]
          : [fromFile, key, file ? { file: file.file, ...file.position(key) } : {}];
    const value = said === undefined ? fallback : said;
    values[key] = value;
    if (kind === 'pairs' && typeof said === 'string')
      problems.push({ message: `${name} must be ${looks}, each name once, not ${JSON.stringify(said)}`, ...place });
    else if (said !== undefined) problems.push(...check(schema, said).map((problem) => placed(problem, name, place)));
  }
  if (problems.length === 0) {
    for (const contradiction of contradictions) {
      const message = contradiction(values as ValuesOf<S>);
      if (message) problems.push({ message });
    }
  }
  if (problems.length > 0) throw fail('CONFIG_INVALID', { process }, { problems });
  return sealed(settings, values) as ValuesOf<S>;
}

/** Deep-frozen; JSON and inspection show `(hidden)` for what is secret. */
function sealed(settings: Settings, values: Record<string, unknown>): object {
  const shown = (): object =>
    Object.fromEntries(
      Object.entries(values).map(([key, value]) => [
        key,
        settings[key]!.secret && value !== undefined ? '(hidden)' : value,
      ]),
    );
  for (const value of Object.values(values)) if (typeof value === 'object') Object.freeze(value);
  Object.defineProperty(values, 'toJSON', { value: shown });
  Object.defineProperty(values, Symbol.for('nodejs.util.inspect.custom'), { value: shown });
  return Object.freeze(values);
}

function fileProblems(settings: Settings, file: SettingsFile | undefined): Problem[] {
  if (!file) return [];
  if (typeof file.value !== 'object' || file.value === null || Array.isArray(file.value))
    return [{ file: file.file, message: 'must be a map of settings' }];
  const known = Object.keys(settings);
  return Object.keys(file.value)
    .filter((key) => !known.includes(key))
    .map((key) => {
      const near = suggest(key, known);
      const hint = near ? `did you mean ${near}?` : `known keys: ${known.join(', ')}`;
      return { file: file.file, ...file.position(key), message: `unknown key ${JSON.stringify(key)}`, hint };
    });
}

function placed(problem: Problem, name: string, place: Partial<Problem>): Problem {
  const inside = problem.pointer ? ` ${problem.pointer.slice(1)}` : '';
  return { message: `${name}${inside} ${problem.message}`, ...place, ...(problem.hint ? { hint: problem.hint } : {}) };
}

/** Text as typed becomes the value that the schema will check; what cannot be one is left as text, for the schema to refuse. */
function readText(kind: SettingFacts['kind'], said: unknown, schema: JsonSchema): unknown {
  if (kind === 'pairs') return pairsOf(said, schema);
  if (kind === 'list') return Array.isArray(said) ? said : String(said).split(',').filter(Boolean);
  if (typeof said !== 'string') return said;
  if (kind === 'number') return /^-?[0-9]+$/.test(said) ? Number(said) : said;
  if (kind === 'switch')
    return ['true', '1', 'yes'].includes(said) || (['false', '0', 'no'].includes(said) ? false : said);
  return said;
}

/** `name=value`, several of them or one text with commas between. */
function pairsOf(said: unknown, { properties }: JsonSchema): unknown {
  const valueFor = (name: string, text: string): unknown =>
    properties?.[name] ? readText(kindOf(properties[name]), text, properties[name]) : text;
  const parts = Array.isArray(said) ? said.map(String) : String(said).split(',').filter(Boolean);
  const pairs = parts.map((part): [string, string] | undefined => {
    const at = part.indexOf('=');
    return at > 0 ? [part.slice(0, at), part.slice(at + 1)] : undefined;
  });
  const names = new Set(pairs.map((pair) => pair?.[0]));
  return pairs.includes(undefined) || names.size < pairs.length
    ? parts.join(',')
    : Object.fromEntries((pairs as [string, string][]).map(([name, text]) => [name, valueFor(name, text)]));
}

function kindOf(schema: JsonSchema): SettingFacts['kind'] {
  if (schema.type === 'object') return 'pairs';
  if (schema.type === 'array') return 'list';
  if (schema.type === 'boolean') return 'switch';
  return schema.type === 'integer' || schema.type === 'number' ? 'number' : 'text';
}

// Settings of a cluster as they are in force: what was declared, and the default where nothing was. Defaults are those of the schema.
import type { JsonSchema } from '#base/schema';
import { type ClusterResource, resourceSchemas } from '#wire';

export interface Setting {
  /** `circuitBreaker.maxRequests` */
  readonly name: string;
  readonly value: string;
  readonly isDeclared: boolean;
}

/** Groups that hold also for a cluster that says nothing of them. */
const always = ['loadBalancing', 'circuitBreaker'];
const onlyDeclared = ['protocol', 'subsets', 'outlierDetection', 'healthCheck', 'tls', 'plaintext', 'via'];

export function settingsInForce(declared: Partial<ClusterResource>): Setting[] {
  const fields = resourceSchemas.Cluster.properties ?? {};
  return [...always, ...onlyDeclared].flatMap((name) => {
    const value = (declared as Readonly<Record<string, unknown>>)[name];
    const isShown = value !== undefined || always.includes(name);
    return isShown && fields[name] ? visit(fields[name], value, name) : [];
  });
}

function visit(schema: JsonSchema, value: unknown, name: string): Setting[] {
  const isGroup = schema.type === 'object' && schema.properties !== undefined;
  if (!isGroup) {
    const isDeclared = value !== undefined;
    const shown = isDeclared ? value : schema.default;
    return shown === undefined ? [] : [{ name, value: textOf(shown), isDeclared }];
  }
  const given = (value ?? {}) as Readonly<Record<string, unknown>>;
  const all = Object.entries(schema.properties!).flatMap(([key, field]) => {
    // Groups within that were not asked for are off.
    if (field.type === 'object' && given[key] === undefined) return [];
    return visit(field, given[key], `${name}.${key}`);
  });
  return all.length > 0 ? all : [{ name, value: 'on', isDeclared: true }];
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

// Routes as operators write them, and requests to them, in a few words.
import { parseResources } from '#config/resources';
import { type Asked, buildTraffic, compileRoutes, hostOf, type Routes } from '#routing';
import type { LocatedResource, ServiceEntry } from '#wire';
import { idOf, trustDomain } from './policy.ts';

/** Resources of YAML; throws with every problem of their shape. */
export function written(yaml: string): LocatedResource[] {
  const { resources, problems } = parseResources(yaml, 'routes.yaml');
  if (problems.length > 0) throw new Error(problems.map(({ line, message }) => `${line}: ${message}`).join('\n'));
  return resources;
}

export function service(name: string, part: Partial<ServiceEntry> = {}): ServiceEntry {
  return { id: idOf(name), hosts: [hostOf(name)], ports: [8080], endpoints: [], ...part };
}

/** Compiled routes of YAML, beside the services of these names. */
export function routesOf(yaml: string, services: readonly (string | ServiceEntry)[] = []): Routes {
  const traffic = buildTraffic({ resources: yaml === '' ? [] : written(yaml), trustDomain });
  return compileRoutes({
    ...traffic,
    services: services.map((each) => (typeof each === 'string' ? service(each) : each)),
  });
}

/** A request from `web`; headers as a plain record. */
export function asked(
  path = '/',
  {
    headers = {},
    ...part
  }: Partial<Omit<Asked, 'path' | 'fields'>> & { readonly headers?: Readonly<Record<string, string>> } = {},
): Asked {
  const mark = path.indexOf('?');
  return {
    method: 'GET',
    port: 80,
    path: mark < 0 ? path : path.slice(0, mark),
    query: mark < 0 ? '' : path.slice(mark),
    fields: Object.entries(headers).flat(),
    from: idOf('web'),
    ...part,
  };
}

// The entries of services as they go into snapshots: one text for everybody who may call the service, made again only when it changes, and what
// must be said to who holds another one.
import type { Endpoint } from '#wire';

/** The same object for as long as nothing in it changes. */
export interface Entry {
  readonly name: string;
  readonly text: string;
  readonly hosts: readonly string[];
  readonly ports: readonly number[];
  /** By instance, each as JSON. */
  readonly endpoints: ReadonlyMap<string, string>;
}

export interface Entries {
  /** Of a service by its SPIFFE ID; made again when it was marked as stale. */
  of(id: string): Entry;
  /** Only that there is such a service. */
  bare(id: string): Entry;
  /** Of one service, or of all. */
  stale(id?: string): void;
}

export interface EntriesOptions {
  readonly read: (id: string) => {
    readonly hosts: readonly string[];
    readonly ports: readonly number[];
    readonly endpoints: readonly Endpoint[];
  };
}

export function createEntries({ read }: EntriesOptions): Entries {
  const kept = new Map<string, Entry>();
  const fresh = new Set<string>();
  const bare = new Map<string, Entry>();
  return {
    of(id) {
      const before = kept.get(id);
      if (before && fresh.has(id)) return before;
      fresh.add(id);
      const made = entryOf(id, read(id));
      if (before?.text === made.text) return before;
      kept.set(id, made);
      return made;
    },
    bare(id) {
      let entry = bare.get(id);
      if (!entry) {
        entry = entryOf(id, { hosts: [], ports: [], endpoints: [] });
        bare.set(id, entry);
      }
      return entry;
    },
    stale(id) {
      if (id === undefined) fresh.clear();
      else fresh.delete(id);
    },
  };
}

const differences = new WeakMap<Entry, { readonly from: Entry; readonly text: string | undefined }>();

/** As a `SnapshotChange` says it; `undefined` when more than endpoints differs. Kept, since everybody who holds the one is told the same. */
export function endpointsChanged(from: Entry, to: Entry): string | undefined {
  const kept = differences.get(to);
  if (kept?.from === from) return kept.text;
  const text = difference(from, to);
  // One that was left behind is not kept alive by its successors.
  differences.delete(from);
  differences.set(to, { from, text });
  return text;
}

function difference(from: Entry, to: Entry): string | undefined {
  if (from.hosts.join() !== to.hosts.join() || from.ports.join() !== to.ports.join()) return undefined;
  const put = [...to.endpoints].filter(([instance, text]) => from.endpoints.get(instance) !== text);
  const gone = [...from.endpoints.keys()].filter((instance) => !to.endpoints.has(instance));
  return `{"id":${JSON.stringify(to.name)},"put":[${put.map(([, text]) => text).join()}],"gone":${JSON.stringify(gone)}}`;
}

function entryOf(id: string, { hosts, ports, endpoints: given }: ReturnType<EntriesOptions['read']>): Entry {
  const endpoints = new Map(given.map((one) => [one.instance, JSON.stringify(one)]));
  const head = `{"id":${JSON.stringify(id)},"hosts":${JSON.stringify(hosts)},"ports":${JSON.stringify(ports)}`;
  return { name: id, hosts, ports, endpoints, text: `${head},"endpoints":[${[...endpoints.values()].join()}]}` };
}

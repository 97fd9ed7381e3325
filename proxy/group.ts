// The instances of a gateway's service, which have no proxy of their own: one cluster at work, whose endpoints the gateway's file names.
import type { ClusterEntry } from '#wire';
import { linkOf } from './cluster-link.ts';
import { type Cluster, type ClustersOptions, createClusters } from './clusters.ts';
import type { Group } from './ports.ts';

export interface GroupCluster {
  readonly cluster: Cluster | undefined;
  /** Whether any instance serves, as far as health checks tell; `undefined` without any check. */
  readonly state: 'healthy' | 'unhealthy' | undefined;
  /** Checks everything and changes nothing; the result puts it in force and cannot fail. Throws what is wrong. */
  prepare(group: Group | undefined): () => void;
  close(): void;
}

const name = 'the group';

export function createGroup(o: ClustersOptions): GroupCluster {
  const clusters = createClusters({
    ...o,
    linkOf(asked) {
      const link = linkOf(asked);
      return link.kind === 'external' ? { ...link, isOurs: true } : link;
    },
  });
  let isChecked = false;
  return {
    get cluster() {
      return clusters.get(name);
    },
    get state() {
      const endpoints = isChecked ? clusters.get(name)?.live.describe().endpoints : undefined;
      if (!endpoints) return undefined;
      return endpoints.some(({ health }) => health === 'healthy') ? 'healthy' : 'unhealthy';
    },
    prepare(group) {
      const entry: ClusterEntry | undefined = group && { ...group, name, id: name, plaintext: true };
      const routed = new Map(entry ? [[name, { name, id: name, entry, service: undefined }]] : []);
      const use = clusters.prepare({ clusters: routed, own: name });
      return () => {
        isChecked = group?.healthCheck !== undefined;
        use();
      };
    },
    close: clusters.close,
  };
}

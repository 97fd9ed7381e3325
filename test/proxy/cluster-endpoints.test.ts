// What a snapshot's services become at work, and what one bad entry may and may not do to the others.
import { expect, test } from 'vitest';
import { startClusterCaller } from '../helpers/cluster-call.ts';

const entry = (service: string, ...addresses: string[]) => ({
  id: `spiffe://example.org/${service}`,
  hosts: [service],
  ports: [8080],
  endpoints: addresses.map((address, at) => ({ instance: `${service}-${at}`, address, labels: {} })),
});

test.each(['payments:65536', 'payments:99999', '[::::]:1', '[1]:1', 'payments', ':1', 'a b:1', ''])(
  'an instance that says it is at %j is left out, and nothing else is lost',
  (address) => {
    const caller = startClusterCaller();
    caller.configure({ services: [entry('payments', address, '127.0.0.1:1'), entry('ledger', '[::1]:2')] });
    const endpointsOf = (name: string) => caller.clusters.get(name)?.live.endpoints;
    expect(endpointsOf('payments')?.map(({ port }) => port)).toEqual([1]);
    expect(endpointsOf('ledger')).toMatchObject([{ host: '::1', port: 2 }]);
  },
);

// What a snapshot's services become, and what one bad entry may and may not do to the others.
import { describe, expect, test } from 'vitest';
import { buildRoutes } from '../../proxy/route.ts';

const entry = (service: string, ...addresses: string[]) => ({
  id: `spiffe://example.org/${service}`,
  hosts: [service],
  ports: [8080],
  endpoints: addresses.map((address, at) => ({ instance: `${service}-${at}`, address, labels: {} })),
});

describe('routes', () => {
  test.each(['payments:65536', 'payments:99999', '[::::]:1', '[1]:1', 'payments', ':1', 'a b:1', ''])(
    'an instance that says it is at %j is left out, and nothing else is lost',
    (address) => {
      const routes = buildRoutes([entry('payments', address, '127.0.0.1:1'), entry('ledger', '[::1]:2')]);
      expect(routes.byHost('payments')?.endpoints.map(({ port }) => port)).toEqual([1]);
      expect(routes.byHost('ledger')?.endpoints).toMatchObject([{ host: '::1', port: 2 }]);
    },
  );

  test('a service that comes twice, or is no SPIFFE ID, refuses the whole', () => {
    expect(() => buildRoutes([entry('payments'), entry('payments')])).toThrow('comes twice');
    expect(() => buildRoutes([{ ...entry('payments'), id: 'payments' }])).toThrow();
  });

  test('a host that two services claim means neither', () => {
    const routes = buildRoutes([entry('payments'), { ...entry('ledger'), hosts: ['payments', 'ledger'] }]);
    expect(routes.byHost('payments')).toBeUndefined();
    expect(routes.byHost('ledger')?.id.service).toBe('ledger');
  });
});

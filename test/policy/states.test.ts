// Which circumstances (port, headers, claims, address, time) make some rules hold and others not: found exactly when there are any.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { conditionsHold, readCondition } from '../../policy/condition.ts';
import { findState, type State, type Stated } from '../../policy/space/states.ts';
import { formatAddress } from '../../policy/span.ts';

const condition = (key: string, listed: readonly string[]) => {
  const read = readCondition({ key, in: listed });
  if ('faults' in read) throw new Error(JSON.stringify(read.faults));
  return read.condition;
};
const lists: Readonly<Record<string, readonly string[]>> = {
  'header:x': ['a', 'b'],
  'jwt:claims.role': ['a', 'b', 'c'],
  'source:address': ['10.0.0.0/8', '10.1.0.0/16', '::ffff:10.1.2.3', 'fd00::/8'],
  'time:utc': ['Mon-Fri 08:00-18:00', '22:00-06:00', 'Sun 00:00-24:00', 'Fri-Mon 17:00-09:00'],
};
const conditions = fc
  .uniqueArray(fc.constantFrom(...Object.keys(lists)), { maxLength: 3 })
  .chain((keys) =>
    fc.tuple(
      ...keys.map((key) =>
        fc
          .uniqueArray(fc.constantFrom(...lists[key]!), { minLength: 1, maxLength: 2 })
          .map((listed) => condition(key, listed)),
      ),
    ),
  );
const rule: fc.Arbitrary<Stated> = fc.record({
  deny: fc.boolean(),
  ports: fc.constantFrom(undefined, undefined, new Set([80]), new Set([80, 81])),
  conditions: conditions.map((all) => (all.length > 0 ? [...all] : undefined)),
});

const subsets = (all: readonly string[]): string[][] =>
  Array.from({ length: 2 ** all.length }, (_, bits) => all.filter((_one, at) => bits & (1 << at)));
const monday = Date.UTC(2026, 0, 5);
const hours = [0, 7, 8, 9, 12, 17, 18, 21, 22];
const worlds = {
  port: [undefined, 80, 81, 82],
  header: subsets(['a', 'b', 'other']),
  claim: subsets(['a', 'b', 'c']),
  address: ['10.1.2.3', '10.1.9.9', '10.9.9.9', '192.0.2.1', 'fd00::1', '::1', '9.255.255.255', '11.0.0.0'],
  time: [0, 1, 4, 5, 6].flatMap((day) => hours.map((hour) => monday + (day * 24 + hour) * 3_600_000)),
};

interface World {
  readonly port: number | undefined;
  readonly header: readonly string[];
  readonly claim: readonly string[];
  readonly address: string;
  readonly time: number;
}

function holds({ deny, ports, conditions: asked }: Stated, { port, header, claim, address, time }: World): boolean {
  if (ports && !(port === undefined ? deny : ports.has(port))) return false;
  const circumstances = { headers: () => header, claims: () => claim, address, time };
  return asked === undefined || conditionsHold(asked, deny, circumstances);
}

function worldOf({ port, headers, claims, address, minute }: State): World {
  return {
    port,
    header: headers.x ?? [],
    claim: claims.role ?? [],
    address: address === undefined ? '192.0.2.1' : formatAddress(address),
    time: monday + (minute ?? 0) * 60_000,
  };
}

test('a state is found exactly when one of all that there can be fits, and the one that is found fits', () => {
  let found = 0;
  fc.assert(
    fc.property(fc.array(rule, { maxLength: 2 }), fc.array(rule, { maxLength: 3 }), (holding, failing) => {
      const fits = (world: World): boolean =>
        holding.every((one) => holds(one, world)) && !failing.some((one) => holds(one, world));
      const state = findState(holding, failing);
      if (state) {
        found++;
        expect(fits(worldOf(state))).toBe(true);
        return;
      }
      for (const port of worlds.port)
        for (const header of worlds.header)
          for (const claim of worlds.claim)
            for (const address of worlds.address)
              for (const time of worlds.time)
                if (fits({ port, header, claim, address, time })) throw new Error('there is one');
    }),
    { numRuns: 600, seed: 4 },
  );
  expect(found).toBeGreaterThan(200);
});

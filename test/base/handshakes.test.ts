// Who makes room when too many handshakes are under way.
import { describe, expect, test } from 'vitest';
import { createHandshakes } from '#base/handshakes';
import { createClock } from '../helpers/clock.ts';

const from = (remoteAddress: string) => ({ remoteAddress });

function fullHouse(...addresses: string[]) {
  const clock = createClock();
  const handshakes = createHandshakes({ limit: addresses.length, monotonic: () => clock.monotonic() });
  const sockets = addresses.map(from);
  for (const socket of sockets) expect(handshakes.begin(socket)).toEqual({});
  return { clock, handshakes, sockets };
}

describe('T28, T33: when every place is taken', () => {
  test('the oldest handshake of the address that holds the most makes room for another address', () => {
    const { handshakes, sockets } = fullHouse('b', 'a', 'a', 'a');
    expect(handshakes.begin(from('c')).shed).toBe(sockets[1]);
    expect(handshakes.begin(from('d')).shed).toBe(sockets[2]);
    expect(handshakes.size).toBe(4);
    // Nobody holds more than one now: the next one would only take turns with its equals.
    const late = from('e');
    expect(handshakes.begin(late).shed).toBe(late);
  });

  test('the address that holds the most makes no room for itself', () => {
    const { handshakes } = fullHouse('a', 'a', 'a', 'b');
    const late = from('a');
    expect(handshakes.begin(late).shed).toBe(late);
  });

  test('whoever has dawdled for seconds makes room, even for its own address', () => {
    const { clock, handshakes, sockets } = fullHouse('a', 'a', 'a');
    const late = from('a');
    clock.advance(2_499);
    expect(handshakes.begin(late).shed).toBe(late);
    clock.advance(1);
    expect(handshakes.begin(from('a')).shed).toBe(sockets[0]);
    expect(handshakes.begin(from('a')).shed).toBe(sockets[1]);
  });

  test('a place given back is taken without anybody leaving; giving it back twice gives one', () => {
    const { handshakes, sockets } = fullHouse('a', 'a');
    handshakes.end(sockets[0]!);
    handshakes.end(sockets[0]!);
    expect(handshakes.begin(from('a'))).toEqual({});
    const late = from('a');
    expect(handshakes.begin(late).shed).toBe(late);
  });
});

// A caller that asks on and on without taking its answers: what is written for it stays within the buffer, and it is let go.
import { describe, expect, test, vi } from 'vitest';
import { openRaw, openTls, type RawClient, startApp, startPair, type TestProxy } from '../helpers/mesh.ts';

/** Far more than the sockets of this machine hold in answers. */
const asked = 60_000;
const denied = 'GET /secret HTTP/1.1\r\nhost: payments\r\n\r\n';

/** Sends without reading until nothing more is taken; gives how many requests were answered by then. */
async function askWithoutReading(client: RawClient, proxy: TestProxy): Promise<number> {
  client.socket.pause();
  client.send(denied.repeat(asked));
  let before = -1;
  while (proxy.records.length !== before) {
    before = proxy.records.length;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  return before;
}

describe('H33: pipelined requests whose answers nobody takes', () => {
  test('are answered within the bound, and the rest waits until answers are taken', async () => {
    const app = await startApp((_, response) => response.end('ok'));
    const { pki, web, payments } = await startPair({ app, rules: [] });
    const client = await openTls({ pki, proxy: payments, identity: web.identity });
    expect(await askWithoutReading(client, payments)).toBeLessThan(asked);
    client.socket.resume();
    const records = await payments.recorded(asked);
    expect(records).toHaveLength(asked);
    expect(app.accepts()).toBe(0);
  });

  test('end with the connection when none is taken for too long', async () => {
    const app = await startApp((_, response) => response.end('ok'));
    const { web } = await startPair({ app, rules: [], webLimits: { writeMs: 500 } });
    const client = await openRaw(web.addresses.outbound.port);
    expect(await askWithoutReading(client, web)).toBeLessThan(asked);
    await vi.waitFor(() => expect(web.metrics.render()).toContain('postern_limits_total{limit="write"} 1'), {
      timeout: 5_000,
    });
    client.socket.resume();
    await client.closed();
    expect(web.metrics.render()).toContain('postern_connections_open_outbound 0');
  });
});

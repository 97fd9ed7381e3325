// A whole sidecar in this process, on any free ports; it ends with the test.
import { onTestFinished } from 'vitest';
import { systemClock } from '#base/clock';
import { silentLog } from '#base/log';
import { type Sidecar, type SidecarConfig, startSidecar } from '#proxy';

export async function runSidecar(home: string, more: Partial<SidecarConfig>): Promise<Sidecar> {
  const any = '127.0.0.1:0';
  const config = { home, app: '127.0.0.1:9', inbound: any, outbound: any, admin: any, metrics: any };
  const sidecar = await startSidecar(
    { ...config, upstreams: {}, labels: {}, drainMs: 2_000, ...more },
    { clock: systemClock, log: silentLog },
  );
  onTestFinished(() => sidecar.close());
  return sidecar;
}

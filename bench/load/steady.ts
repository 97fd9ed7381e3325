// A steady load of plain HTTP requests, bounded in rate, connections and time, that remembers every answer that was not a 200.
import { Agent, request } from 'node:http';

export interface LoadOptions {
  /** Where to connect: a sidecar's outbound listener. */
  readonly to: { readonly host: string; readonly port: number };
  /** The absolute URL asked for; its host names the service. */
  readonly url: string;
  readonly perSecond: number;
  readonly connections: number;
}

export interface LoadResult {
  readonly sent: number;
  readonly ok: number;
  /** At most the first hundred failures, in words. */
  readonly failures: readonly string[];
  readonly latenciesMs: readonly number[];
}

export interface Load {
  /** Stops sending, waits for what is in flight. */
  stop(): Promise<LoadResult>;
  readonly sent: number;
  readonly failed: number;
}

export function startLoad({ to, url, perSecond, connections }: LoadOptions): Load {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const begun = performance.now();
  const failures: string[] = [];
  const latenciesMs: number[] = [];
  const flying = new Set<Promise<void>>();
  let sent = 0;
  let ok = 0;
  let failed = 0;

  const once = (): Promise<void> =>
    new Promise((resolve) => {
      const at = performance.now();
      const done = (failure: string | undefined): void => {
        if (failure === undefined) ok++;
        else if (++failed <= 100) failures.push(`${((at - begun) / 1_000).toFixed(2)} s: ${failure}`);
        latenciesMs.push(performance.now() - at);
        resolve();
      };
      const call = request(
        { ...to, agent, path: url, headers: { host: new URL(url).host }, timeout: 10_000 },
        (answer) => {
          let body = '';
          answer.setEncoding('utf8').on('data', (text: string) => {
            if (body.length < 500) body += text;
          });
          answer.on('end', () => done(answer.statusCode === 200 ? undefined : `${answer.statusCode} ${body}`));
          answer.on('error', (thrown) => done(thrown.message));
        },
      );
      call.on('timeout', () => call.destroy(new Error('no answer within 10 s')));
      call.on('error', (thrown) => done(thrown.message));
      call.end();
    });

  const tick = setInterval(() => {
    const due = Math.floor(((performance.now() - begun) * perSecond) / 1_000);
    while (sent < due && flying.size < connections * 4) {
      sent++;
      const flight = once();
      flying.add(flight);
      void flight.then(() => flying.delete(flight));
    }
  }, 5);

  return {
    async stop() {
      clearInterval(tick);
      await Promise.all(flying);
      agent.destroy();
      return { sent, ok, failures, latenciesMs };
    },
    get sent() {
      return sent;
    },
    get failed() {
      return failed;
    },
  };
}

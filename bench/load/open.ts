// Open loop: requests leave at a fixed rate whether or not answers come, over so many connections in turn; a request that finds its connection
// busy waits, and that counts. Run in a process of its own, so that nothing else holds up its clock.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { quantile } from '../bench.ts';

export interface OpenLoad {
  readonly port: number;
  readonly connections: number;
  readonly perSecond: number;
  readonly seconds: number;
}

export interface OpenResult {
  readonly requests: number;
  /** Milliseconds from when a request was due. */
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

const file = fileURLToPath(import.meta.url);

export async function runOpenLoad(o: OpenLoad): Promise<OpenResult> {
  const child = fork(file, [JSON.stringify(o)], { execArgv: [] });
  const [answer] = (await once(child, 'message')) as [OpenResult | { fault: string }];
  child.disconnect();
  await once(child, 'exit');
  if ('fault' in answer) throw new Error(answer.fault);
  return answer;
}

if (process.argv[1] === file && process.send) {
  const load = JSON.parse(process.argv[2]!) as OpenLoad;
  generate(load).then(
    (result) => process.send!(result),
    (thrown: Error) => process.send!({ fault: thrown.message }),
  );
}

const request = 'GET /charges/1 HTTP/1.1\r\nhost: payments\r\naccept: */*\r\nuser-agent: bench\r\n\r\n';
const bodyBytes = 1_024;

interface Caller {
  readonly socket: ReturnType<typeof connect>;
  /** When each request was due that is not answered yet; the first one is on its way. */
  readonly due: number[];
}

async function generate({ port, connections, perSecond, seconds }: OpenLoad): Promise<OpenResult> {
  const latencies: number[] = [];
  let fault: string | undefined;
  const callers = await Promise.all(
    Array.from({ length: connections }, async (): Promise<Caller> => {
      const socket = connect({ host: '127.0.0.1', port, noDelay: true });
      await once(socket, 'connect');
      const due: number[] = [];
      let received = '';
      socket.on('error', (error) => {
        fault = error.message;
      });
      socket.on('data', (bytes) => {
        received += bytes.toString('latin1');
        const head = received.indexOf('\r\n\r\n');
        if (head < 0 || received.length - head - 4 < bodyBytes) return;
        if (!received.startsWith('HTTP/1.1 200')) fault = received.slice(0, 300);
        received = '';
        latencies.push(performance.now() - due.shift()!);
        if (due.length > 0) socket.write(request);
      });
      return { socket, due };
    }),
  );
  const begun = performance.now();
  let sent = 0;
  const total = perSecond * seconds;
  await new Promise<void>((resolve) => {
    const tick = (): void => {
      const now = performance.now();
      // A late tick of this process is not the proxy's: what is due now is due now.
      for (const until = Math.min(total, ((now - begun) / 1_000) * perSecond); sent < until; sent++) {
        const { due, socket } = callers[sent % callers.length]!;
        due.push(performance.now());
        if (due.length === 1) socket.write(request);
      }
      if (fault !== undefined || sent >= total) return resolve();
      setTimeout(tick, 1);
    };
    tick();
  });
  const patience = performance.now() + 10_000;
  while (latencies.length < sent && fault === undefined && performance.now() < patience)
    await new Promise((resolve) => setTimeout(resolve, 5));
  for (const { socket } of callers) socket.destroy();
  if (fault !== undefined || latencies.length < sent) throw new Error(fault ?? 'some requests were not answered');
  // The first second warms up.
  const kept = latencies.slice(Math.min(perSecond, latencies.length / 2));
  return { requests: kept.length, p50: quantile(kept, 0.5), p90: quantile(kept, 0.9), p99: quantile(kept, 0.99) };
}

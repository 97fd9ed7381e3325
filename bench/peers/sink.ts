// An application that reads bodies and drops them, as cheaply as it can: answers `ok` when a body of the announced length has come. As a process of
// its own when run with a port.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { type Measured, measuredOf } from './processes.ts';

/** Starts it; resolves when it listens. */
export async function startSink(port: number): Promise<Measured> {
  const child = fork(fileURLToPath(import.meta.url), [String(port)], { execArgv: [] });
  await once(child, 'message');
  return measuredOf(child);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  createServer({ noDelay: true }, serve).listen(Number(process.argv[2]), '127.0.0.1', () => process.send!('ready'));
}

const ok = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';

function serve(socket: Socket): void {
  let head = '';
  let left = 0;
  let chunked = false;
  socket.on('error', () => undefined);
  socket.on('data', (bytes: Buffer) => {
    let from = 0;
    while (from < bytes.length) {
      if (left > 0) {
        const size = Math.min(left, bytes.length - from);
        left -= size;
        from += size;
        if (left === 0) socket.write(ok);
        continue;
      }
      if (chunked) {
        // Only the end matters; it comes by itself in these benchmarks.
        if (bytes.subarray(-5).toString('latin1') !== '0\r\n\r\n') return;
        chunked = false;
        socket.write(ok);
        return;
      }
      head += bytes.toString('latin1', from);
      const end = head.indexOf('\r\n\r\n');
      if (end < 0) return;
      from = bytes.length - (head.length - end - 4);
      left = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
      chunked = left === 0 && /transfer-encoding: chunked/i.test(head);
      head = '';
      if (left === 0 && !chunked) socket.write(ok);
    }
  });
}

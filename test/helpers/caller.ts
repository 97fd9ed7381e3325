// A caller of plain HTTP/1.1 that makes next to nothing itself, for tests that count what the proxies make of a request.
import { connect } from 'node:net';
import { onTestFinished } from 'vitest';

/** What the application must answer. */
export const helloAnswer = 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello';

/** Calls one after the other on one connection. */
export async function createCaller(port: number): Promise<() => Promise<void>> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true });
  onTestFinished(() => void socket.destroy());
  let answered = (): void => undefined;
  let text = '';
  socket.on('data', (bytes) => {
    text += bytes.toString('latin1');
    if (!text.endsWith('hello')) return;
    text = '';
    answered();
  });
  return () =>
    new Promise((resolve) => {
      answered = resolve;
      socket.write('GET /charges/1 HTTP/1.1\r\nhost: payments\r\n\r\n');
    });
}

// A small real application for the demo: plain HTTP, no idea that a mesh exists beyond its outbound proxy's address.
// Its parent hands it that address, and its own port is told back, over the process channel; it ends when its parent does.
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

const name = process.argv[2] ?? 'app';
let outbound = { host: '127.0.0.1', port: 0 };
/** Told so, it answers every request with 500. */
let isFailing = false;
let served = 0;

/** Calls another service by its name, through the sidecar, as any client with `http_proxy` set would. */
function call(method: string, url: string, body?: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ ...outbound, method, path: url, headers: { host: new URL(url).host } }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: text.trim() }));
    });
    outgoing.on('error', reject).end(body);
  });
}

function answer(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(value)}\n`);
}

/** One line every so often for as long as anybody listens: a response that is still running when a ban or a new policy arrives. */
function feed(response: ServerResponse, everyMs: number): void {
  response.writeHead(200, { 'content-type': 'text/plain' });
  let line = 1;
  response.write(`${name} line ${line}\n`);
  const timer = setInterval(() => response.write(`${name} line ${++line}\n`), everyMs);
  response.on('close', () => clearInterval(timer));
}

async function handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname, searchParams } = new URL(incoming.url ?? '/', 'http://app');
  for await (const _ of incoming);
  served++;
  if (isFailing) return answer(response, 500, { app: name, failed: 'as it was told to' });
  if (pathname === '/feed') return feed(response, Number(searchParams.get('everyMs') ?? 50));
  if (pathname === '/call') {
    const reply = await call(searchParams.get('method') ?? 'GET', searchParams.get('url') ?? '');
    return answer(response, reply.status, { app: name, answered: reply.body });
  }
  if (pathname === '/checkout') {
    const charged = await call('POST', 'http://payments/charges', '{"amount":42}');
    return answer(response, charged.status, { app: name, charged: charged.status === 200 });
  }
  answer(response, 200, { app: name, did: `${incoming.method} ${pathname}`, for: incoming.headers['x-postern-peer'] });
}

const server = createServer((incoming, response) => {
  handle(incoming, response).catch((thrown: Error) => answer(response, 502, { app: name, failed: thrown.message }));
});
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }));
process.on('message', (told: { outbound?: typeof outbound; isFailing?: boolean; count?: true }) => {
  if (told.outbound) outbound = told.outbound;
  if (told.isFailing !== undefined) isFailing = told.isFailing;
  if (told.count) process.send?.({ served });
});
process.on('disconnect', () => server.close(() => undefined).closeAllConnections());

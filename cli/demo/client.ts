// The demo's own caller: one kept-alive connection to a sidecar's outbound listener, as an application would hold it.
import { Agent, type IncomingMessage, request } from 'node:http';

export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers: IncomingMessage['headers'];
  /** Local port of the connection: the same number means the same connection. */
  readonly connection: number;
}

export interface Caller {
  call(method: string, url: string, headers?: Readonly<Record<string, string>>): Promise<Answer>;
  /** Opens a response that does not end by itself. */
  follow(url: string): Promise<Followed>;
  close(): void;
}

export interface Followed {
  readonly status: number;
  lines(): number;
  /** Resolves when the response was cut or ended. */
  readonly ended: Promise<void>;
}

export function createCaller(to: { readonly host: string; readonly port: number }): Caller {
  const agent = new Agent({ keepAlive: true, maxSockets: 2 });
  const open = (method: string, url: string, more: Readonly<Record<string, string>> = {}): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const headers = { host: new URL(url).host, ...more };
      request({ ...to, agent, method, path: url, headers, timeout: 10_000 }, resolve)
        .on('error', reject)
        .end();
    });
  return {
    async call(method, url, headers) {
      const answer = await open(method, url, headers);
      const connection = answer.socket.localPort ?? 0;
      let body = '';
      for await (const chunk of answer.setEncoding('utf8')) body += chunk;
      return { status: answer.statusCode ?? 0, body, headers: answer.headers, connection };
    },
    async follow(url) {
      const answer = await open('GET', url);
      let lines = 0;
      answer.setEncoding('utf8').on('data', (text: string) => {
        lines += text.split('\n').length - 1;
      });
      const ended = new Promise<void>((resolve) => {
        answer.on('error', () => undefined);
        answer.on('close', () => resolve());
      });
      return { status: answer.statusCode ?? 0, lines: () => lines, ended };
    },
    close: () => agent.destroy(),
  };
}

// One HTTP request by Node's own client, to a sidecar or whatever listens there, on a connection of its own.
import { request as httpRequest } from 'node:http';

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

/** `host` is the Host header; that of the address otherwise. */
export function httpCall(
  address: string,
  { method = 'GET', path = '/', host }: { method?: string; path?: string; host?: string | undefined } = {},
): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const headers = host === undefined ? {} : { host };
    const request = httpRequest(`http://${address}${path}`, { method, agent: false, headers }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    });
    request.on('error', reject);
    request.end();
  });
}

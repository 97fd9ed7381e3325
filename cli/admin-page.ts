// One page of the admin listener of a proxy on this machine. Plain HTTP to a loopback address: nobody else answers there.
import { request } from 'node:http';
import { parseHostPort } from '#base/host-port';
import { fail } from './errors.ts';

const answerMs = 5_000;
const largestPage = 64 * 1024 * 1024;

/** Throws `CLI_USAGE` or `CLI_ADMIN_UNREACHABLE`. */
export async function readAdminPage(address: string, path: string): Promise<unknown> {
  const place = parseHostPort(address.replace(/^http:\/\//, '').replace(/\/$/, ''));
  if (!place)
    throw fail('CLI_USAGE', { problem: `${address} is not an address`, fix: 'write --admin 127.0.0.1:15000' });
  const broken = (reason: string, cause?: unknown) => fail('CLI_ADMIN_UNREACHABLE', { address, reason }, { cause });
  return new Promise((resolve, reject) => {
    const asked = request({ ...place, path, agent: false, timeout: answerMs }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
        if (text.length > largestPage) response.destroy();
      });
      response.on('error', (thrown) => reject(broken(thrown.message, thrown)));
      response.on('end', () => {
        if (response.statusCode !== 200) return reject(broken(`it answers ${response.statusCode}`));
        try {
          resolve(JSON.parse(text));
        } catch (thrown) {
          reject(broken('it is not the admin listener of a proxy', thrown));
        }
      });
    });
    asked.on('timeout', () => asked.destroy(new Error(`no answer within ${answerMs / 1_000} s`)));
    asked.on('error', (thrown) => reject(broken(thrown.message, thrown)));
    asked.end();
  });
}

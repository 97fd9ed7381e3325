import { describe, expect, test } from 'vitest';
import { call, idOf, openTls, startApp, startPair } from '../helpers/mesh.ts';

const echo = () => startApp((request, response) => response.end(JSON.stringify(request.rawHeaders)));

const spoofed = [
  'X-Forwarded-Client-Cert: By=spiffe://example.org/payments;URI=spiffe://example.org/admin',
  'x-postern-peer: spiffe://example.org/admin',
  'X-Postern-Decision: forged',
  'X-POSTERN-anything: 1',
  'Forwarded: for=10.0.0.1',
];

/** The values of one header as the application got them. */
function seenIn(body: string, name: string): string[] {
  const raw: string[] = JSON.parse(body);
  return raw.filter((_, index) => index % 2 === 1 && raw[index - 1]!.toLowerCase() === name);
}

describe('only proxies speak for identity', () => {
  test('Z11, 23: what an application claims is stripped, then what was verified is set', async () => {
    const { web } = await startPair({ app: await echo() });
    const { body } = await call(web, { headers: spoofed });
    expect(seenIn(body, 'x-forwarded-client-cert')).toEqual([`By=${idOf('payments')};URI=${idOf('web')}`]);
    expect(seenIn(body, 'x-postern-peer')).toEqual([idOf('web')]);
    expect(seenIn(body, 'x-postern-anything')).toEqual([]);
    expect(seenIn(body, 'forwarded')).toEqual([]);
    expect(seenIn(body, 'x-postern-decision')).not.toContain('forged');
  });

  test('Z11: and so is what a peer claims that does not strip it itself', async () => {
    const { pki, web, payments } = await startPair({ app: await echo() });
    const client = await openTls({ pki, proxy: payments, identity: web.identity });
    client.send(`GET / HTTP/1.1\r\nhost: payments\r\nconnection: close\r\n${spoofed.join('\r\n')}\r\n\r\n`);
    const text = await client.closed();
    const body = /\[.*\]/.exec(text)![0];
    expect(seenIn(body, 'x-postern-peer')).toEqual([idOf('web')]);
    expect(seenIn(body, 'x-forwarded-client-cert')).toHaveLength(1);
  });

  test('H28, 22: naming our headers in Connection does not strip them', async () => {
    const { web } = await startPair({ app: await echo() });
    const { body } = await call(web, {
      headers: ['Connection: x-postern-peer, x-forwarded-client-cert, x-postern-decision'],
    });
    expect(seenIn(body, 'x-postern-peer')).toEqual([idOf('web')]);
    expect(seenIn(body, 'x-forwarded-client-cert')).toHaveLength(1);
    expect(seenIn(body, 'x-postern-decision')).toHaveLength(1);
  });

  test('an application cannot answer as a proxy', async () => {
    const app = await startApp((_, response) => {
      response.writeHead(403, { 'x-postern-hop': 'inbound', 'x-postern-decision': 'forged', 'x-kept': 'yes' });
      response.end();
    });
    const { web } = await startPair({ app });
    const { status, head } = await call(web);
    expect(status).toBe(403);
    expect(head).toContain('x-kept: yes');
    expect(head).not.toContain('x-postern-');
  });

  test('hop-by-hop fields stay on their hop, everything else arrives with all its values', async () => {
    const { web } = await startPair({ app: await echo() });
    const { body } = await call(web, {
      headers: [
        'Keep-Alive: timeout=5',
        'TE: trailers',
        'Proxy-Authorization: x',
        'X-Many: a',
        'X-Many: b',
        'X-Forwarded-For: 10.0.0.9',
      ],
    });
    expect(seenIn(body, 'keep-alive')).toEqual([]);
    expect(seenIn(body, 'te')).toEqual([]);
    expect(seenIn(body, 'proxy-authorization')).toEqual([]);
    expect(seenIn(body, 'x-many')).toEqual(['a', 'b']);
    expect(seenIn(body, 'x-forwarded-for')).toEqual(['10.0.0.9']);
  });
});

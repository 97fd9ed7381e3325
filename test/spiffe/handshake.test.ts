// Bad certificates in real TLS 1.3 handshakes, presented by a hostile client to our server and by a hostile server to our client.

import { get, type RequestOptions } from 'node:https';
import type { AddressInfo } from 'node:net';
import { connect, createServer } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { systemClock } from '#base/clock';
import {
  der,
  oid,
  parseSpiffeId,
  type Svid,
  sequence,
  type TrustBundle,
  tlsClientPolicy,
  tlsContext,
  tlsServerPolicy,
  toPem,
  verifyChain,
  verifyPeer,
} from '#spiffe';
import { handshake, type Presented } from '../helpers/handshake.ts';
import {
  basicConstraints,
  clientAuth,
  createTestPki,
  dnsName,
  ecKeys,
  extension,
  keyUsage,
  makeCa,
  makeCertificate,
  nameOf,
  purposes,
  rsaKeys,
  san,
  serverAuth,
  uri,
} from '../helpers/pki.ts';

const pki = createTestPki();
const foreign = createTestPki('other.org');
const both: TrustBundle = { ...pki.bundle, roots: [pki.root.der, foreign.root.der] };
const good = pki.leaf({ san: san([uri('spiffe://example.org/good')], true) });
const now = systemClock.now();
const day = 86_400_000;

const isSvid = (answer: Svid | string): answer is Svid => typeof answer !== 'string';
/** Runs the certificate through both roles; returns what the honest end said. */
async function judged(
  bad: Presented,
  bundle = pki.bundle,
): Promise<{ asClient: string; asServer: string; received: number }> {
  const hostile = { ciphers: 'DEFAULT:@SECLEVEL=0' };
  const asClient = await handshake({
    bundle,
    server: good,
    client: bad,
    expect: 'spiffe://example.org/good',
    clientOptions: hostile,
  });
  const asServer = await handshake({
    bundle,
    server: bad,
    client: good,
    expect: 'spiffe://example.org/web',
    serverOptions: hostile,
  });
  return {
    asClient: isSvid(asClient.server) ? 'accepted' : asClient.server,
    asServer: isSvid(asServer.client) ? 'accepted' : asServer.client,
    received: asServer.received,
  };
}

function deep(length: number): Presented {
  let issuer = pki.root;
  const above: Uint8Array[] = [];
  for (let i = 0; i < length - 2; i++) {
    issuer = makeCa({ issuer });
    above.unshift(issuer.der);
  }
  const leaf = makeCertificate({ issuer });
  return { key: leaf.keys.privateKey, chain: [leaf.der, ...above] };
}

const longRoot = makeCa({ name: 'a root without path length' });
const longBundle: TrustBundle = { ...pki.bundle, roots: [longRoot.der, pki.root.der] };
const underLongRoot = (levels: number): Presented => {
  let issuer = longRoot;
  const above: Uint8Array[] = [];
  for (let i = 0; i < levels; i++) {
    issuer = makeCa({ issuer });
    above.unshift(issuer.der);
  }
  const leaf = makeCertificate({ issuer });
  return { key: leaf.keys.privateKey, chain: [leaf.der, ...above] };
};
const under = (wish: Parameters<typeof makeCa>[0]): Presented => {
  const issuing = makeCa({ issuer: pki.root, ...wish });
  const leaf = makeCertificate({ issuer: issuing });
  return { key: leaf.keys.privateKey, chain: [leaf.der, issuing.der] };
};
const selfSigned = makeCertificate();
const sha1Ecdsa = sequence(oid('1.2.840.10045.4.1'));
/** Permits URIs of hosts other than ours only. */
const otherHostsOnly = extension('2.5.29.30', sequence(der(0xa0, sequence(der(0x86, Buffer.from('other.org'))))), true);

const rows: readonly [claim: string, bad: Presented, bundle: TrustBundle][] = [
  ['T1: an expired leaf', pki.leaf({ notBefore: now - 2 * day, notAfter: now - day }), pki.bundle],
  ['T2: a leaf that is not yet valid', pki.leaf({ notBefore: now + day, notAfter: now + 2 * day }), pki.bundle],
  ['T3: a leaf of another CA', foreign.leaf(), pki.bundle],
  ['T3: a leaf of another CA with the names of ours', createTestPki().leaf(), pki.bundle],
  ['T4: a self-signed leaf', { chain: [selfSigned.der], key: selfSigned.keys.privateKey }, pki.bundle],
  [
    'T5: a foreign trust domain whose CA is in the bundle',
    foreign.leaf({ san: san([uri('spiffe://other.org/web')], true) }),
    both,
  ],
  [
    'T5: a foreign trust domain signed by our own CA',
    pki.leaf({ san: san([uri('spiffe://other.org/web')], true) }),
    pki.bundle,
  ],
  [
    'T6: two URI SANs',
    pki.leaf({ san: san([uri('spiffe://example.org/web'), uri('spiffe://example.org/b')], true) }),
    pki.bundle,
  ],
  ['T7: no SAN', pki.leaf({ san: undefined, subject: nameOf('web') }), pki.bundle],
  ['T8: an https URI', pki.leaf({ san: san([uri('https://example.org/web')], true) }), pki.bundle],
  ['T8: an upper-case host', pki.leaf({ san: san([uri('spiffe://EXAMPLE.org/web')], true) }), pki.bundle],
  ['T8: a root path', pki.leaf({ san: san([uri('spiffe://example.org')], true) }), pki.bundle],
  [
    'T9: a comma and a second URI in one SAN',
    pki.leaf({ san: san([uri('spiffe://example.org/web, URI:spiffe://example.org/b')], true) }),
    pki.bundle,
  ],
  ['T9: a NUL in the SAN', pki.leaf({ san: san([uri('spiffe://example.org/web\0')], true) }), pki.bundle],
  [
    'T10, 29: a DNS SAN that spells the ID',
    pki.leaf({ san: san([dnsName('spiffe://example.org/web')], true) }),
    pki.bundle,
  ],
  [
    'T11: a CA as a leaf',
    pki.leaf({ basicConstraints: basicConstraints(true), keyUsage: keyUsage(['digitalSignature', 'keyCertSign']) }),
    pki.bundle,
  ],
  ['T11: the issuing CA itself as a leaf', { chain: [pki.issuing.der], key: pki.issuing.keys.privateKey }, pki.bundle],
  ['T12: keyCertSign on a leaf', pki.leaf({ keyUsage: keyUsage(['digitalSignature', 'keyCertSign']) }), pki.bundle],
  ['T12: cRLSign on a leaf', pki.leaf({ keyUsage: keyUsage(['digitalSignature', 'cRLSign']) }), pki.bundle],
  ['T13: only serverAuth', pki.leaf({ purposes: purposes([serverAuth]) }), pki.bundle],
  ['T13: only clientAuth', pki.leaf({ purposes: purposes([clientAuth]) }), pki.bundle],
  ['T14: no EKU', pki.leaf({ purposes: undefined }), pki.bundle],
  ['T15: an unknown critical extension', pki.leaf({ more: [extension('1.2.3.4', der(0x05), true)] }), pki.bundle],
  ['T16: a path length that is exceeded', deep(4), pki.bundle],
  ['T16: two CAs between leaf and root', underLongRoot(2), longBundle],
  ['T16: a chain of 20', underLongRoot(18), longBundle],
  ['T17: an issuing CA whose name constraints exclude the leaf', under({ more: [otherHostsOnly] }), pki.bundle],
  [
    'T18: a chain of 1 MB',
    {
      ...good,
      chain: [
        ...pki.leaf().chain,
        ...Array.from(
          { length: 1_000 },
          () => makeCa({ more: [extension('1.2.3', der(0x04, Buffer.alloc(600)), false)] }).der,
        ),
      ],
    },
    pki.bundle,
  ],
  ['T19: an RSA key of 1024 bits', pki.leaf({ keys: rsaKeys(1_024) }), pki.bundle],
  ['T19: an issuing CA with an RSA key of 1024 bits', under({ keys: rsaKeys(1_024) }), pki.bundle],
  ['T19: an issuing CA on secp256k1', under({ keys: ecKeys('secp256k1') }), pki.bundle],
  ['T19: a SHA-1 signature', pki.leaf({ algorithm: { inner: sha1Ecdsa } }), pki.bundle],
  ['T20: a negative serial', pki.leaf({ serial: der(0x02, Buffer.of(0x85, 1, 2)) }), pki.bundle],
  ['T20: a signature of nothing', pki.leaf({ signature: () => Buffer.alloc(70, 1) }), pki.bundle],
  [
    'X-05: an issuing CA with a SPIFFE ID that has a path',
    under({ san: san([uri('spiffe://example.org/web')], false) }),
    pki.bundle,
  ],
  ['X-05: an issuing CA of another trust domain', under({ san: san([uri('spiffe://other.org')], false) }), pki.bundle],
  ['X-07: an issuer that is no CA', under({ basicConstraints: basicConstraints(false) }), pki.bundle],
  ['X-09: an issuing CA without keyCertSign', under({ keyUsage: keyUsage(['digitalSignature']) }), pki.bundle],
  ['X-12: an issuing CA that has expired', under({ notBefore: now - 2 * day, notAfter: now - day }), pki.bundle],
  [
    'B-06: a good leaf when the bundle holds another root',
    pki.leaf(),
    { ...foreign.bundle, trustDomain: 'example.org' },
  ],
];

describe('a peer is refused, whichever side it is on', () => {
  it.each(rows.filter(([claim]) => !/T18|B-06|T19: an RSA key/.test(claim)))(
    '%s is refused',
    async (_, bad, bundle) => {
      const { asClient, asServer, received } = await judged(bad, bundle);
      expect([asClient, asServer]).not.toContain('accepted');
      expect(received).toBe(0);
    },
  );

  it('T18: a chain of 1 MB fails early and the server lives', async () => {
    const bad = rows.find(([claim]) => claim.startsWith('T18'))![1];
    const before = process.memoryUsage.rss();
    const { server } = await handshake({
      bundle: pki.bundle,
      server: good,
      client: { chain: bad.chain, key: good.key },
      expect: 'spiffe://example.org/good',
    }).catch(() => ({ server: 'closed' }));
    expect(isSvid(server)).toBe(false);
    expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 1_048_576);
  });

  it('T19: an RSA key of 1024 bits is refused by the client side of a handshake and by the reader', async () => {
    const bad = pki.leaf({ keys: rsaKeys(1_024) });
    const { client } = await handshake({
      bundle: pki.bundle,
      server: bad,
      client: good,
      expect: 'spiffe://example.org/web',
      serverOptions: { ciphers: 'DEFAULT:@SECLEVEL=0' },
    });
    expect(isSvid(client)).toBe(false);
  });

  it('B-06: a bundle without roots makes no TLS context at all', () => {
    const empty = { ...pki.bundle, roots: [] };
    expect(() => tlsContext({ identity: pki.identity(), bundle: empty })).toThrowError(
      expect.objectContaining({ code: 'IDENTITY_BUNDLE_INVALID' }),
    );
    expect(() =>
      tlsClientPolicy({ bundle: empty, now: () => now, expect: parseSpiffeId('spiffe://example.org/web') }),
    ).toThrowError(/no roots/);
  });

  it('good identities find each other, with the root sent or not', async () => {
    const client = pki.leaf();
    for (const chain of [client.chain, [...client.chain, pki.root.der]]) {
      const outcome = await handshake({
        bundle: both,
        server: good,
        client: { ...client, chain },
        expect: 'spiffe://example.org/good',
      });
      expect(outcome.server).toMatchObject({ id: { uri: 'spiffe://example.org/web' } });
      expect(outcome.client).toMatchObject({ id: { uri: 'spiffe://example.org/good' } });
      expect(outcome.received).toBe(8);
    }
  });

  it('T27: a client without a certificate is refused', async () => {
    const outcome = await handshake({ bundle: pki.bundle, server: good, expect: 'spiffe://example.org/good' });
    expect(outcome.server).toBe('ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE');
  });
});

describe('a chain that is padded', () => {
  const padded = (count: number) => [...good.chain, ...Array.from({ length: count }, () => makeCa().der)];
  it('T16: a good leaf with eighteen certificates too many is refused by both sides', async () => {
    const outcome = await handshake({
      bundle: pki.bundle,
      server: good,
      client: { ...good, chain: padded(18) },
      expect: 'spiffe://example.org/good',
    });
    expect(outcome.server).toBe('IDENTITY_CHAIN_INVALID');
    expect(() => verifyChain({ chain: padded(2), bundle: pki.bundle, now })).toThrowError(/4 certificates/);
  });

  it('T19: a look-alike of the issuing CA on a curve that Node cannot name does not take the client down', async () => {
    const lookAlike = makeCa({
      issuer: pki.root,
      subject: pki.issuing.subject,
      keys: ecKeys('secp256k1'),
      notBefore: now - 2 * day,
      notAfter: now - day,
    });
    const [leaf, issuing] = good.chain as [Uint8Array, Uint8Array];
    for (const chain of [
      [leaf, lookAlike.der, issuing],
      [leaf, issuing, lookAlike.der],
    ]) {
      const server = { ...good, chain };
      const { client } = await handshake({
        bundle: pki.bundle,
        server,
        client: good,
        expect: 'spiffe://example.org/good',
      });
      expect(isSvid(client) ? client.id.uri : client).toMatch(/^(spiffe:\/\/example.org\/good|IDENTITY_.*)$/);
    }
  });

  it('X-12, T15, T17: an issuing CA with a critical extension that is not understood, or with name constraints, is refused', () => {
    for (const more of [extension('1.2.3.4', der(0x05), true), otherHostsOnly])
      expect(() => verifyChain({ chain: under({ more: [more] }).chain, bundle: pki.bundle, now })).toThrowError(
        expect.objectContaining({ code: 'IDENTITY_EXTENSION_UNKNOWN' }),
      );
  });
});

describe('TLS itself', () => {
  const context = tlsContext({ identity: pki.identity('spiffe://example.org/good'), bundle: pki.bundle });
  const listen = async (onPeer: (answer: string) => void) => {
    const server = createServer({ ...context, ...tlsServerPolicy }, (socket) => {
      socket.on('error', () => undefined);
      onPeer(verifyPeer(socket, { bundle: pki.bundle, now: systemClock.now() }).id.uri);
      socket.end('x'.repeat(10));
    });
    server.on('tlsClientError', (error) => onPeer((error as { code?: string }).code ?? 'error'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return { server, port: (server.address() as AddressInfo).port };
  };

  it.each(['TLSv1', 'TLSv1.1', 'TLSv1.2'] as const)('T21: %s is refused', async (version) => {
    const seen: string[] = [];
    const { server, port } = await listen((answer) => seen.push(answer));
    const client = connect({
      port,
      host: '127.0.0.1',
      ca: toPem(pki.root.der),
      cert: good.chain.map(toPem).join(''),
      key: good.key.export({ format: 'pem', type: 'pkcs8' }),
      checkServerIdentity: () => undefined,
      minVersion: version,
      maxVersion: version,
      ciphers: 'DEFAULT:@SECLEVEL=0',
    });
    const code = await new Promise<string>((resolve) =>
      client.on('error', (error) => resolve((error as { code?: string }).code ?? 'error')),
    );
    expect(code).toMatch(/PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|NO_PROTOCOLS/);
    expect(seen.filter((answer) => answer.startsWith('spiffe'))).toEqual([]);
    server.close();
  });

  it('T23, T24, T25, 31: no session is ever resumed, whatever the client kept', async () => {
    const seen: string[] = [];
    const { server, port } = await listen((answer) => seen.push(answer));
    const visit = (session?: Buffer) =>
      new Promise<{ sessions: Buffer[]; isReused: boolean }>((resolve, reject) => {
        const sessions: Buffer[] = [];
        const client = connect({
          port,
          host: '127.0.0.1',
          ...context,
          ...tlsClientPolicy({
            bundle: pki.bundle,
            now: () => systemClock.now(),
            expect: parseSpiffeId('spiffe://example.org/good'),
          }),
          ...(session && { session }),
        });
        let isReused = false;
        client.on('session', (kept) => sessions.push(kept));
        client.on('secureConnect', () => {
          isReused = client.isSessionReused();
        });
        client.on('error', reject);
        client.resume().on('close', () => resolve({ sessions, isReused }));
      });
    const first = await visit();
    for (const session of first.sessions) expect((await visit(session)).isReused).toBe(false);
    expect((await visit()).isReused).toBe(false);
    expect(new Set(seen)).toEqual(new Set(['spiffe://example.org/good']));
    server.close();
  });

  it('T32: the request of an HTTPS client does not leave before the server proved to be the expected one', async () => {
    let received = 0;
    const server = createServer({ ...context, ...tlsServerPolicy }, (socket) => {
      socket.on('error', () => undefined);
      socket.on('data', (bytes) => {
        received += bytes.length;
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const code = await new Promise<string>((resolve) => {
      get({
        port,
        host: '127.0.0.1',
        headers: { authorization: 'Bearer secret' },
        agent: false,
        ...tlsContext({ identity: pki.identity(), bundle: pki.bundle }),
        ...tlsClientPolicy({
          bundle: pki.bundle,
          now: () => systemClock.now(),
          expect: parseSpiffeId('spiffe://example.org/other'),
        }),
      } as RequestOptions).on('error', (error) => resolve((error as { code?: string }).code ?? 'error'));
    });
    expect(code).toBe('IDENTITY_UNEXPECTED');
    await new Promise<void>((resolve) => server.close(() => resolve()));
    expect(received).toBe(0);
  });
});

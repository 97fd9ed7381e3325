// What does issuing one leaf cost, against the least that it could: one ECDSA P-256 signature and one verification in the same run?
import { sign, verify } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock as clock } from '#base/clock';
import { initAuthority } from '#ca';
import { createCsr, createKeyPair, readCertificate, readSvid, spiffeIdOf } from '#spiffe';
import { readCsr } from '../ca/csr.ts';
import { issueLeaf } from '../ca/issue.ts';
import { createSigner } from '../ca/profile.ts';
import { createIssuing, createRoot } from '../ca/x509.ts';
import { type Bench, cpuMicros, quantile } from './bench.ts';

const rounds = 30;
const batch = 100;
const bar = 2.5;
const trustDomain = 'example.org';

/** The three are measured in turn, a batch each, so that a busy machine slows them alike; ratios are medians of the rounds. */
export async function run(): Promise<Bench> {
  const leaf = await leafMaker();
  const { renew, close } = await renewer();
  const { privateKey, publicKey } = createKeyPair();
  const data = Buffer.alloc(400, 7);
  const primitive = () => verify('sha256', data, publicKey, sign('sha256', data, privateKey));

  const samples = { primitive: [] as number[], leaf: [] as number[], renew: [] as number[] };
  for (let round = -3; round < rounds; round++) {
    const one = await cpuMicros(batch, primitive);
    const two = await cpuMicros(batch, leaf);
    const three = await cpuMicros(batch, renew);
    if (round < 0) continue;
    samples.primitive.push(one);
    samples.leaf.push(two);
    samples.renew.push(three);
  }
  close();
  const median = (of: readonly number[]) => quantile(of, 0.5);
  const ratio = (of: readonly number[]) => median(of.map((micros, round) => micros / samples.primitive[round]!));
  const micros = (of: readonly number[]) => `${median(of).toFixed(0)} us`;
  return {
    title: 'Issuing a leaf certificate',
    how: `CPU of this process, ${rounds} rounds of ${batch} each in turn. Issuing is: read the request, verify its signature, write and sign the leaf, read it back and verify its signature. The last row adds the look-ups and the durable record.`,
    figures: [
      { what: 'one P-256 signature and one verification', measured: micros(samples.primitive) },
      {
        what: 'one leaf, request check and release check included',
        measured: `${micros(samples.leaf)}, ${ratio(samples.leaf).toFixed(2)} x`,
        bar: `at most ${bar} x a signature and a verification`,
        holds: ratio(samples.leaf) <= bar,
      },
      {
        what: 'one renewal, with its durable record in SQLite',
        measured: `${micros(samples.renew)}, ${ratio(samples.renew).toFixed(2)} x`,
      },
    ],
  };
}

async function leafMaker(): Promise<() => unknown> {
  const now = clock.now();
  const [rootKey, key] = [createKeyPair().privateKey, createKeyPair().privateKey];
  const life = { notBefore: now - 60_000, notAfter: now + 86_400_000 };
  const root = await createRoot({ trustDomain, key: rootKey, ...life });
  const certificate = await createIssuing({ trustDomain, key, root, rootKey, ...life });
  const signer = createSigner({ certificate: readCertificate(certificate.der), fingerprint: 'bench', key });
  const id = spiffeIdOf({ trustDomain, service: 'shop/payments' });
  const csr = createCsr(createKeyPair());
  return () => issueLeaf({ signer, id, publicKey: readCsr(csr), now, ttlMs: 3_600_000, backdateMs: 30_000 });
}

/** Renewals of as many instances as it takes to stay below the flood limit of each. */
async function renewer(): Promise<{ readonly renew: (round: number) => unknown; readonly close: () => void }> {
  const home = mkdtempSync(join(tmpdir(), 'postern-bench-'));
  const authority = await initAuthority({ home, trustDomain, clock });
  const id = spiffeIdOf({ trustDomain, service: 'shop/payments' });
  const instances = Array.from({ length: Math.ceil(((rounds + 3) * batch) / 10) }, (_, index) => ({
    presented: readSvid(authority.issueLocal({ id, ttlMs: 3_600_000, instance: `i${index}` }).chain[0]!),
    csr: createCsr(createKeyPair()),
  }));
  let next = 0;
  return {
    renew: () => authority.renew(instances[Math.floor(next++ / 10)]!),
    close() {
      authority.close();
      rmSync(home, { recursive: true, force: true });
    },
  };
}

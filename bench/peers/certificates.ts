// Certificates for peers that know host names and no SPIFFE IDs: a P-256 root and a leaf for each end, good for both roles, as PEM files.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { neededPath } from './programs.ts';

export interface PemFiles {
  readonly key: string;
  readonly certificate: string;
  /** Both in one file, as HAProxy wants them. */
  readonly both: string;
}

export interface PeerCertificates {
  readonly root: string;
  readonly web: PemFiles;
  readonly payments: PemFiles;
}

export function makePeerCertificates(folder: string): PeerCertificates {
  const openssl = (...args: string[]): void => {
    const { status, stderr } = spawnSync(neededPath('openssl'), args, { encoding: 'utf8', cwd: folder });
    if (status !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`);
  };
  const fresh = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  openssl('req', ...fresh, '-keyout', 'root.key', '-out', 'root.pem', '-subj', '/CN=bench root');
  const leaf = (name: string): PemFiles => {
    const signed = ['-CA', 'root.pem', '-CAkey', 'root.key', '-subj', `/CN=${name}`];
    const marks = ['basicConstraints=CA:FALSE', `subjectAltName=DNS:${name}`, 'extendedKeyUsage=serverAuth,clientAuth'];
    const extensions = marks.flatMap((mark) => ['-addext', mark]);
    openssl('req', ...fresh, ...signed, ...extensions, '-keyout', `${name}.key`, '-out', `${name}.pem`);
    const files = { key: join(folder, `${name}.key`), certificate: join(folder, `${name}.pem`) };
    const both = join(folder, `${name}.both`);
    writeFileSync(both, readFileSync(files.certificate, 'utf8') + readFileSync(files.key, 'utf8'), { mode: 0o600 });
    return { ...files, both };
  };
  return { root: join(folder, 'root.pem'), web: leaf('web'), payments: leaf('payments') };
}

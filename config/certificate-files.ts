// A certificate and its key from files that an operator keeps: read, and tried together before anything is told to use them.
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { createSecureContext } from 'node:tls';
import { isPosternError, messageOf } from '#base/error';
import { readPrivateFile } from '#base/files';
import { readText } from './text-file.ts';

export interface CertificatePair {
  /** PEM, the leaf first. */
  readonly cert: string;
  readonly key: string;
  /** Names and addresses that the certificate is for, in lower case. */
  readonly names: readonly string[];
  /** Epoch milliseconds. */
  readonly notAfter: number;
}

/** Or what is wrong with which of the two. */
export function readCertificate(
  certFile: string,
  keyFile: string,
): CertificatePair | { readonly fault: string; readonly of: 'certFile' | 'keyFile' } {
  const read = readText(certFile);
  if ('problem' in read) return { fault: `${certFile}: ${read.problem.message}`, of: 'certFile' };
  const cert = read.text;
  let leaf: X509Certificate;
  try {
    leaf = new X509Certificate(cert);
  } catch {
    return { fault: `${certFile} holds no PEM certificate`, of: 'certFile' };
  }
  let key: string;
  try {
    key = readPrivateFile(keyFile).toString();
  } catch (thrown) {
    const hint = isPosternError(thrown) && thrown.hint !== undefined ? `; ${thrown.hint}` : '';
    return { fault: `${messageOf(thrown)}${hint}`, of: 'keyFile' };
  }
  try {
    if (!leaf.checkPrivateKey(createPrivateKey(key)))
      return { fault: `${keyFile} is not the key of ${certFile}`, of: 'keyFile' };
  } catch {
    return { fault: `${keyFile} holds no PEM private key without a passphrase`, of: 'keyFile' };
  }
  try {
    createSecureContext({ cert, key });
  } catch (thrown) {
    return { fault: `${certFile} cannot be used for TLS: ${messageOf(thrown)}`, of: 'certFile' };
  }
  return { cert, key, names: namesOf(leaf), notAfter: leaf.validToDate.getTime() };
}

function namesOf({ subjectAltName = '' }: X509Certificate): string[] {
  return subjectAltName.split(', ').flatMap((entry) => {
    const [, dns] = /^DNS:([^"\s]+)$/.exec(entry) ?? [];
    const [, ip] = /^IP Address:(.+)$/.exec(entry) ?? [];
    if (dns !== undefined) return [dns.toLowerCase()];
    return ip !== undefined && isIP(ip) ? [ip.toLowerCase()] : [];
  });
}

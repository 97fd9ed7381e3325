// With what TLS toward the outside begins: whom a cluster trusts, and the client certificate it shows, whose key lies on this proxy and nowhere else.
// Files are looked at for each connection, so that a replaced certificate is in use from the next one on.
import { X509Certificate } from 'node:crypto';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { createSecureContext, type SecureContext } from 'node:tls';
import { isPosternError, messageOf } from '#base/error';
import { readFileOrFail, readPrivateFile } from '#base/files';
import type { ExternalTls } from './cluster-link.ts';
import { fail } from './errors.ts';

export interface ExternalTrust {
  /** Throws `UPSTREAM_CLIENT_CERTIFICATE` when the certificate or its key cannot be used. */
  contextOf(tls: ExternalTls): SecureContext;
}

/** With forward secrecy and authenticated encryption only, in TLS 1.2 as in 1.3. */
const ciphers = [
  'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

/** Throws what is wrong with the CA certificates (PEM) of a cluster. */
export function assertTrust(cluster: string, ca: string | undefined): void {
  if (ca === undefined) return;
  const blocks = ca.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw new TypeError(`tls.ca of the cluster ${cluster} holds no certificate`);
  for (const block of blocks) {
    try {
      new X509Certificate(block);
    } catch (cause) {
      throw new TypeError(`tls.ca of the cluster ${cluster} holds something that is no certificate`, { cause });
    }
  }
}

/** `folder` holds NAME.crt and NAME.key. */
export function createExternalTrust({ folder }: { readonly folder: string | undefined }): ExternalTrust {
  const made = new WeakMap<ExternalTls, { readonly stamp: string; readonly context: SecureContext }>();
  return {
    contextOf(tls) {
      const name = tls.clientCertificate;
      const files = name === undefined ? undefined : pairOf(folder, name);
      const stamp = files ? stampOf(files) : '';
      const known = made.get(tls);
      if (known?.stamp === stamp && stamp !== missing) return known.context;
      const context = contextOf(tls, files);
      made.set(tls, { stamp, context });
      return context;
    },
  };
}

interface Pair {
  readonly name: string;
  readonly certificate: string;
  readonly key: string;
}

function pairOf(folder: string | undefined, name: string): Pair {
  if (folder === undefined) throw unusable(name, 'this proxy has no folder for client certificates');
  return { name, certificate: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) };
}

function contextOf({ ca, minVersion }: ExternalTls, files: Pair | undefined): SecureContext {
  const shared = { ciphers, minVersion: `TLSv${minVersion}` as const, ...(ca !== undefined && { ca }) };
  if (!files) return createSecureContext(shared);
  const key = readKey(files);
  try {
    return createSecureContext({ ...shared, cert: readFileOrFail(files.certificate), key });
  } catch (thrown) {
    throw unusable(files.name, messageOf(thrown), thrown);
  } finally {
    key.fill(0);
  }
}

function readKey({ name, key }: Pair): Buffer {
  try {
    return readPrivateFile(key);
  } catch (thrown) {
    throw unusable(name, messageOf(thrown), thrown);
  }
}

const missing = 'missing';

/** Changes with the files. */
function stampOf({ certificate, key }: Pair): string {
  try {
    return [certificate, key]
      .map((path) => statSync(path, { bigint: true }))
      .map(({ ino, size, mtimeNs, mode }) => `${ino}.${size}.${mtimeNs}.${mode}`)
      .join();
  } catch {
    return missing;
  }
}

function unusable(name: string, reason: string, cause?: unknown): Error {
  return isPosternError(cause, 'UPSTREAM_CLIENT_CERTIFICATE')
    ? cause
    : fail('UPSTREAM_CLIENT_CERTIFICATE', { name, reason }, { cause });
}

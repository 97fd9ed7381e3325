// Reading keys and certificate chains that a home keeps as PEM. What is torn or exposed is said with its fix.
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { isPosternError } from '#base/error';
import { readFileOrFail, readPrivateFile } from '#base/files';
import { fail } from './errors.ts';

export interface PemFile {
  readonly path: string;
  /** What to do when it is unusable. */
  readonly fix: string;
}

/** Throws `FILE_*`, `CLI_HOME_BROKEN`. */
export function readKeyFile({ path, fix }: PemFile): KeyObject {
  try {
    return createPrivateKey(readPrivateFile(path));
  } catch (cause) {
    if (isPosternError(cause)) throw cause;
    throw fail('CLI_HOME_BROKEN', { path, reason: 'it holds no private key', fix }, { cause });
  }
}

/** DER of each certificate, as they stand; throws `FILE_*`, `CLI_HOME_BROKEN`. */
export function readChainFile({ path, fix }: PemFile): [Uint8Array, ...Uint8Array[]] {
  const pem = readFileOrFail(path).toString('latin1');
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    const [leaf, ...rest] = blocks.map((block): Uint8Array => new X509Certificate(block).raw);
    if (leaf) return [leaf, ...rest];
  } catch (cause) {
    throw fail('CLI_HOME_BROKEN', { path, reason: 'a certificate in it cannot be read', fix }, { cause });
  }
  throw fail('CLI_HOME_BROKEN', { path, reason: 'it holds no certificate', fix });
}

// Clusters that work less well than they could, or than somebody thinks.
import { X509Certificate } from 'node:crypto';
import { isLoopback, parseHostPort } from '#base/host-port';
import type { ClusterResource } from '#wire';
import { durationOf } from '../amounts.ts';
import { isOutside } from '../check/known.ts';
import type { Say } from './say.ts';

const soonMs = 7 * 86_400_000;

export function analyzeCluster(
  cluster: ClusterResource,
  o: { readonly now: number | undefined; readonly say: Say },
): void {
  const { say } = o;
  const { endpoints, healthCheck, plaintext, tls, via } = cluster;
  const addresses = addressesOf(endpoints);
  const isNear = addresses?.every((address) => isLoopback(parseHostPort(address)?.host ?? '')) ?? false;
  if (isOutside(cluster) && plaintext && via === undefined && !isNear)
    say('PT011', '/plaintext', 'requests to it are not encrypted and its answers are not verified');
  if (isOutside(cluster) && !healthCheck && (addresses === undefined || addresses.length > 1))
    say('PT015', '/endpoints', 'its endpoints have no health check');
  if (healthCheck) {
    const { interval = '5s', timeout = '1s' } = healthCheck;
    if (durationOf(timeout) > durationOf(interval))
      say('PT022', '/healthCheck', `a check may take ${timeout}, and the next begins after ${interval}`);
  }
  if (tls?.ca !== undefined && o.now !== undefined) checkCa(tls.ca, o.now, say);
}

/** `undefined`: they are not written here. */
function addressesOf(endpoints: ClusterResource['endpoints']): string[] | undefined {
  if (endpoints === 'enrolled' || !('static' in endpoints)) return undefined;
  return endpoints.static.map((each) => (typeof each === 'string' ? each : (each.address as string)));
}

function checkCa(pem: string, now: number, say: Say): void {
  for (const block of pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []) {
    const { validTo, subject } = new X509Certificate(block);
    const left = Date.parse(validTo) - now;
    if (left > soonMs) continue;
    const name = subject.replaceAll('\n', ', ');
    say('PT016', '/tls/ca', `the CA certificate ${name} ${left <= 0 ? 'expired' : 'expires'} on ${validTo}`);
  }
}

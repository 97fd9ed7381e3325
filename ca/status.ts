// How is the authority doing? Its certificates and their states, and alarms in words before anything ends (C18).
import { formatDuration } from '#base/duration';
import { toPem } from '#spiffe';
import type { CaCertificate, CaStatus } from '#wire';
import { type CaEntry, type Hierarchy, subjectOf } from './hierarchy.ts';
import { type Rotation, waitingForOf } from './rotation.ts';
import type { CaSettings } from './settings.ts';
import type { Signers } from './signers.ts';

export interface StatusParts {
  readonly hierarchy: Hierarchy;
  readonly signers: Signers;
  readonly rotation: Pick<Rotation, 'lastFault'>;
  readonly settings: CaSettings;
}

export function caStatus(parts: StatusParts, now: number): CaStatus {
  const { hierarchy, settings, signers } = parts;
  const { svidTtlMs, issuingTtlMs, rootTtlMs, adminTtlMs } = settings;
  const roots = hierarchy.all('root');
  const moving = roots.find(({ state }) => state !== 'active');
  const waitingFor = waitingForOf(hierarchy);
  const phase = hierarchy.one('root', 'prepared') ? 'prepared' : moving ? 'retiring' : 'stable';
  const active = hierarchy.one('root', 'active');
  return {
    trustDomain: hierarchy.bundle().trustDomain,
    roots: roots.map(describe),
    issuing: hierarchy.all('issuing').map(describe),
    rootRotation: { phase, since: (moving ?? active)?.since ?? 0, ...(waitingFor && { waitingFor }) },
    settings: { svidTtlMs, issuingTtlMs, rootTtlMs, adminTtlMs },
    rootKey: active ? signers.rootKeyState(active) : 'offline',
    warnings: warnings(parts, now).map(({ words }) => words),
  };
}

export interface Warning {
  /** The same for the same fact, so that each is reported once. */
  readonly key: string;
  readonly words: string;
}

/** Alarms at 50 % and 80 % of the life of an issuing CA that cannot be replaced, at 80 % of a root's, and of rotations that fail. */
export function warnings({ hierarchy, signers, rotation }: StatusParts, now: number): Warning[] {
  const found: Warning[] = [];
  const root = hierarchy.one('root', 'active');
  const issuing = hierarchy.one('issuing', 'active');
  const isPrepared = hierarchy.one('issuing', 'prepared') !== undefined;
  if (root && issuing && !isPrepared && !signers.hasRootKey(root)) {
    const level = [80, 50].find((percent) => usedOf(issuing, now) >= percent / 100);
    const left = formatDuration(issuing.certificate.notAfter - now);
    if (level)
      found.push({
        key: `${issuing.fingerprint}:${level}`,
        words: `the issuing CA is past ${level}% of its life (${left} left) and cannot be replaced: the root key is ${signers.rootKeyState(root)}`,
      });
  }
  if (root && usedOf(root, now) >= 0.8 && !hierarchy.one('root', 'prepared'))
    found.push({
      key: `${root.fingerprint}:80`,
      words: `the root is past 80% of its life (${formatDuration(root.certificate.notAfter - now)} left): run postern ca rotate root`,
    });
  if (rotation.lastFault !== undefined)
    found.push({ key: `fault:${rotation.lastFault}`, words: `the last rotation step failed: ${rotation.lastFault}` });
  return found;
}

function usedOf({ certificate }: CaEntry, now: number): number {
  return (now - certificate.notBefore) / (certificate.notAfter - certificate.notBefore);
}

function describe({ certificate, fingerprint, state }: CaEntry): CaCertificate {
  const { serial, notBefore, notAfter } = certificate;
  const subject = subjectOf(certificate);
  return { fingerprint, subject, serial, notBefore, notAfter, state, pem: toPem(certificate.der) };
}

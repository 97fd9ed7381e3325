// A decision record with everything in it; tests say only what matters to them.
import type { DecisionRecord } from '#wire';

export type NewRecord = Omit<DecisionRecord, 'v' | 'seq'>;

export function recordOf(changes: Partial<DecisionRecord> = {}): NewRecord {
  return {
    id: 'd-1',
    time: '2026-01-01T00:00:00.000Z',
    instance: 'i-1',
    service: 'spiffe://example.org/payments',
    hop: 'inbound',
    kind: 'exchange',
    connection: 'c-1',
    remote: '127.0.0.1:51234',
    peer: 'spiffe://example.org/checkout',
    serial: 'aabbccddeeff0011',
    to: 'spiffe://example.org/payments',
    method: 'POST',
    host: 'payments',
    path: '/charges',
    decision: 'allow',
    reason: 'allowed',
    rule: 'payments-access/checkout-charges',
    policyRevision: 7,
    status: 200,
    bytesIn: 12,
    bytesOut: 345,
    ms: 1.5,
    ...changes,
  };
}

/** The same with its sequence, as the control plane gets it. */
export function sentRecord(seq: number, changes: Partial<DecisionRecord> = {}): DecisionRecord {
  return { ...recordOf({ id: `d-${seq}`, ...changes }), v: 1, seq };
}

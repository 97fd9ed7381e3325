// A record's bytes depend on its values alone: keys in canonical order, whoever built it, and every field of the schema among them.
import { expect, test } from 'vitest';
import { decisionRecord } from '#wire';
import { canonicalJson, encodeRecord } from '../../audit/canonical.ts';
import { sentRecord } from '../helpers/record.ts';

const whole = sentRecord(1, {
  ...{ matched: ['a/b'], shadow: ['c/d'], endpoint: '10.0.0.1:15008', upstreamMs: 0.5, lost: 1, lostFrom: 2, index: 3 },
  ...{
    virtualService: 'payments',
    route: 'beta',
    cluster: 'payments/v2',
    tries: 2,
    fault: 'delay',
    mirrored: true,
    edge: 'https',
  },
  ...{ protocol: 'grpc', security: 'mtls', grpcStatus: 14, salts: { path: 'x' } },
  ...{ traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), parentSpanId: 'c'.repeat(16), sampled: true },
});

test('every field of the schema is written, in the order of canonical JSON', () => {
  expect(Object.keys(whole).toSorted()).toEqual(Object.keys(decisionRecord.properties!).toSorted());
  expect(encodeRecord(whole)).toBe(`${canonicalJson(whole)}\n`);
  const backwards = Object.fromEntries(Object.entries(whole).toReversed()) as typeof whole;
  expect(encodeRecord(backwards)).toBe(encodeRecord(whole));
});

test('values that the schema would refuse are cut or left out rather than hold up what follows', () => {
  const line = encodeRecord({ ...whole, grpcStatus: 99, tries: 1, cluster: 'x'.repeat(300), spanId: 'y'.repeat(40) });
  const record = JSON.parse(line) as Record<string, unknown>;
  expect(record).not.toHaveProperty('grpcStatus');
  expect(record).not.toHaveProperty('tries');
  expect(String(record.cluster)).toHaveLength(257);
  expect(String(record.spanId)).toHaveLength(16);
});

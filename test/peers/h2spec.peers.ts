// h2spec, the conformance suite for HTTP/2 servers, against both listeners of a sidecar, with the real data plane and an
// application behind them.
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { openTls, startApp, startPair } from '../helpers/mesh.ts';
import { programPath } from './programs.ts';

interface Case {
  readonly name: string;
  readonly outcome: 'passed' | 'failed' | 'skipped';
  readonly detail: string;
}

async function h2spec(port: number, ...more: string[]): Promise<Case[]> {
  const folder = mkdtempSync(join(tmpdir(), 'postern-h2spec-'));
  const report = join(folder, 'report.xml');
  const args = ['-h', '127.0.0.1', '-p', String(port), '-j', report, '-o', '3', ...more];
  await new Promise((resolve) => execFile(programPath('h2spec'), args, { maxBuffer: 64 * 2 ** 20 }, resolve));
  const xml = readFileSync(report, 'utf8');
  rmSync(folder, { recursive: true });
  const found = xml.matchAll(/<testcase package="([^"]*)" classname="([^"]*)"[^>]*?(?:\/>|>([\s\S]*?)<\/testcase>)/g);
  return [...found].map(([, section, title, inner = '']) => ({
    name: `${section}: ${title}`,
    outcome: inner.includes('<skipped') ? 'skipped' : /<(?:failure|error)/.test(inner) ? 'failed' : 'passed',
    detail: inner.trim(),
  }));
}

/** As many as h2spec 2.2.1 has. */
const mostCases = 146;

async function expectAll(port: number, reasons: Readonly<Record<string, string>> = {}): Promise<void> {
  const cases = await h2spec(port, '--strict');
  const failed = cases.filter(({ outcome }) => outcome !== 'passed');
  expect(failed.filter(({ name }) => !(name in reasons))).toEqual([]);
  // A reason that is no longer needed goes.
  expect(failed.map(({ name }) => name)).toEqual(Object.keys(reasons));
  expect(cases.length).toBeGreaterThanOrEqual(mostCases);
}

const app = () =>
  startApp((request, response) => {
    request.resume().on('end', () => response.end('x'.repeat(1_000)));
  });

test('inbound passes every case of h2spec, the strict ones too', { timeout: 300_000 }, async () => {
  const { pki, web, payments } = await startPair({ app: await app() });
  // h2spec has no certificate to show: this shows the caller's, and hands on every byte as it is.
  const bridge = createServer({ allowHalfOpen: true }, async (plain) => {
    plain.on('error', () => undefined).pause();
    const { socket } = await openTls({ pki, proxy: payments, identity: web.identity, ALPNProtocols: ['h2'] });
    plain.pipe(socket);
    socket.pipe(plain);
    plain.on('close', () => socket.destroy());
    socket.on('close', () => plain.end());
  });
  await new Promise<void>((resolve) => bridge.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void bridge.close());
  await expectAll((bridge.address() as AddressInfo).port);
  expect(payments.records.some(({ status, decision }) => status === 200 && decision === 'allow')).toBe(true);
});

test('outbound passes every case of h2spec but one, the strict ones too', { timeout: 300_000 }, async () => {
  const { web } = await startPair({ app: await app(), upstreams: ['payments'] });
  await expectAll(web.addresses.upstreams[0]!.address.port, {
    'http2/3.5: Sends invalid connection preface':
      'the port speaks HTTP/1.1 too: what does not begin as the preface does is answered 400 in that, and closed',
  });
});

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { loadGateway, parseGateway } from '#config/gateway';
import { createOutsideCa } from '../helpers/outside-server.ts';

const none = { now: Date.now(), tokens: new Map<string, string>() };
const folder = mkdtempSync(join(tmpdir(), 'postern-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, 'gateway.yaml');
const ca = createOutsideCa();
for (const name of ['a', 'b']) {
  const { cert, key } = ca.issue([`${name}.example.com`]);
  writeFileSync(join(folder, `${name}.crt`), cert);
  writeFileSync(join(folder, `${name}.key`), key, { mode: 0o600 });
}
writeFileSync(join(folder, 'open.key'), 'x');
chmodSync(join(folder, 'open.key'), 0o644);

/** `LINE:COLUMN message` of each problem. */
function problemsOf(text: string): string[] {
  const { problems, config } = parseGateway(text, file, none);
  expect(config === undefined).toBe(problems.length > 0);
  return problems.map(({ line, column, message, hint }) => `${line}:${column} ${message}${hint ? ` (${hint})` : ''}`);
}

const service = (rest: string): string => `services:\n  - service: edge\n${rest}`;
const listener = (rest: string): string => service(`    listeners:\n      - listen: 127.0.0.1:1\n${rest}`);

describe("a gateway's file", () => {
  test('with everything right becomes plain values, with defaults', () => {
    const { config, files } = parseGateway(
      listener('        hosts: [a.example.com]\n        tls: { certFile: a.crt, keyFile: a.key }\n'),
      file,
      none,
    );
    expect(config).toMatchObject({
      admin: { host: '127.0.0.1', port: 15_000 },
      drainMs: 20_000,
      services: [
        {
          service: 'edge',
          workers: 1,
          ports: {
            edges: [
              {
                listen: { host: '127.0.0.1', port: 1 },
                hosts: ['a.example.com'],
                tls: { minVersion: 'TLSv1.2', certificates: [{ hosts: ['a.example.com'] }] },
              },
            ],
          },
        },
      ],
    });
    expect(files).toEqual([file, join(folder, 'a.crt'), join(folder, 'a.key')]);
  });

  test.each([
    ['', /it is empty/],
    ['services: []', /^1:11 services must not be empty/],
    ['services: [', /^\d+:\d+ /],
    ['{}\n---\n{}', /more than one document|it is empty/],
    ['admn: 127.0.0.1:1\nservices: []', /^1:1 unknown key "admn" \(did you mean admin\?\)/],
    [service(''), /^2:5 edge listens nowhere/],
    [service('    inbound: 127.0.0.1:1\n'), /^3:14 inbound leads nowhere \(say what is behind it/],
    [
      service('    app: 127.0.0.1:1\n    listeners: [{ listen: 127.0.0.1:2, hosts: [a] }]\n'),
      /^3:10 app is never reached/,
    ],
    [service('    inbound: 127.0.0.1:1\n    egress: true\n    app: 127.0.0.1:2\n'), /^4:13 egress stands beside app/],
    [
      service('    outbound: 0.0.0.0:1\n'),
      /^3:15 outbound 0.0.0.0:1 can be reached by other machines, which could call as edge/,
    ],
    [service('    outbound: { listen: 0.0.0.0:1, from: [10.0.0.1/24] }\n'), /^3:43 10.0.0.1\/24: it has bits after/],
    [service('    upstreams: { pay: 0.0.0.0:1 }\n'), /0.0.0.0:1 can be reached by other machines/],
    [listener(''), /^4:9 hosts is missing/],
    [listener('        hosts: [Shop.example.com]\n'), /^5:17 must be a lower-case host name/],
    [listener('        hosts: ["*"]\n'), /^5:17 must be a lower-case host name/],
    [listener('        hosts: [a]\n        tls: {}\n'), /^6:14 tls needs one of: certFile with keyFile/],
    [listener('        hosts: [a]\n        tls: { certFile: a.crt }\n'), /tls keyFile is missing/],
    [
      listener('        hosts: [a]\n        tls: { certFile: a.crt, keyFile: b.key }\n'),
      /keyFile .*b.key is not the key of .*a.crt/,
    ],
    [
      listener('        hosts: [a]\n        tls: { certFile: gone.crt, keyFile: a.key }\n'),
      /certFile .*gone.crt: it cannot be read/,
    ],
    [
      listener('        hosts: [a]\n        tls: { certFile: a.key, keyFile: a.key }\n'),
      /certFile .* holds no PEM certificate/,
    ],
    [
      listener('        hosts: [a]\n        tls: { certFile: a.crt, keyFile: open.key }\n'),
      /keyFile .*can be read by others.*chmod 600/,
    ],
    [listener('        redirectToHttps: true\n        tls: { issued: true }\n'), /redirectToHttps stands beside tls/],
    [listener('        redirectToHttps: { status: 303 }\n'), /status must be 301, 302, 307 or 308/],
    [
      listener('        hosts: [a]\n        passthrough: true\n        tls: { issued: true }\n'),
      /passthrough stands beside/,
    ],
    [
      listener('        hosts: [a]\n        trustedProxies: [10.0.0.0/33]\n'),
      /^6:26 10.0.0.0\/33: \/33 is not a length/,
    ],
    ['admin: 0.0.0.0:1\nservices: [{ service: a, outbound: 127.0.0.1:2 }]', /^1:8 admin 0.0.0.0:1 can be reached/],
    ['services: [{ service: a, outbound: 127.0.0.1:2 }, { service: a, outbound: 127.0.0.1:3 }]', /a is there twice/],
    [
      'services: [{ service: a, outbound: 127.0.0.1:2 }, { service: b, outbound: 127.0.0.1:2 }]',
      /127.0.0.1:2 wants the port of services 0 outbound/,
    ],
    [
      'services: [{ service: a, inbound: 127.0.0.1:2, advertise: "x:0", app: 127.0.0.1:3 }]',
      /advertise must name a port/,
    ],
    ['services: [{ service: a, inbound: 127.0.0.1:2, app: {} }]', /app needs one of: static, dns/],
    ['services: [{ service: a, inbound: 127.0.0.1:2, app: { static: ["10.0.0.1:0"] } }]', /is no HOST:PORT/],
    [
      'services: [{ service: a, inbound: 127.0.0.1:2, app: { static: ["10.0.0.1:1"], loadBalancing: { policy: maglev } } }]',
      /hash/,
    ],
  ])('%j is refused with its place', (text, problem) => {
    expect(problemsOf(text).join('\n')).toMatch(problem);
  });

  test('has all its problems told at once', () => {
    const text = `${listener('        hosts: [a]\n        tls: {}\n')}  - service: edge\n    outbound: 0.0.0.0:1\n`;
    expect(problemsOf(text).length).toBeGreaterThanOrEqual(3);
  });

  test('needs a certificate for each host when there are several', () => {
    const both = '{ certFile: a.crt, keyFile: a.key }, { certFile: b.crt, keyFile: b.key }';
    const text = (hosts: string) => listener(`        hosts: [${hosts}]\n        tls: { certificates: [${both}] }\n`);
    expect(problemsOf(text('a.example.com, b.example.com'))).toEqual([]);
    expect(problemsOf(text('a.example.com, c.example.com')).join()).toMatch(/no certificate for c.example.com/);
  });

  test('that is not there is a problem, and is watched for', () => {
    const gone = join(folder, 'gone.yaml');
    const { problems, files } = loadGateway(gone, none);
    expect(problems).toMatchObject([{ message: expect.stringContaining('there is no such file') }]);
    expect(files).toEqual([gone]);
  });

  test('with a certificate that has expired is taken, with a warning', () => {
    const { warnings, config } = parseGateway(
      listener('        hosts: [a.example.com]\n        tls: { certFile: a.crt, keyFile: a.key }\n'),
      file,
      { ...none, now: Date.now() + 20 * 365 * 86_400_000 },
    );
    expect(config).toBeDefined();
    expect(warnings).toMatchObject([{ line: 6, message: expect.stringContaining('expired at') }]);
  });
});

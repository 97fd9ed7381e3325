// docs/metrics.md from what a real server and a real sidecar expose; labels from where the families are declared.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { get as getPlain } from 'node:http';
import { get, type RequestOptions } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Running, runPostern, startPostern } from '../../../cli/demo/processes.ts';
import { readSources } from '../sources.ts';
import { cell } from './errors-page.ts';

interface Exposed {
  readonly server: string;
  readonly sidecar: string;
}

export async function metricsPage(): Promise<string> {
  const { server, sidecar } = await scrapeBoth();
  return `# Metrics

Prometheus text (exposition format 0.0.4) at \`/metrics\`. A sidecar answers on its \`--metrics\` address to anybody who reaches it; the control plane only to callers with a certificate of the mesh.
Names and labels are public: additions are free, renames are breaking. Label values are names of configuration, verified identities and words of closed sets, never what a peer sends. A family with more than 1 000 label sets
(\`postern_http_requests_total\`: 4 000) counts the rest under \`other\`, and how often it did in \`postern_metrics_overflow_total{metric}\`. How they are used, and Istio's names for them: [observability](observability.md).

Made by \`npm run docs\`; a test compares with what both processes expose.

## Sidecar

${tableOf(sidecar)}
## Control plane

${tableOf(server)}`;
}

async function scrapeBoth(): Promise<Exposed> {
  const folder = mkdtempSync(join(tmpdir(), 'postern-metrics-'));
  const home = join(folder, 'home');
  const running: Running<unknown>[] = [];
  try {
    await must(['ca', 'init', '--trust-domain', 'example.org', '--home', home]);
    const server = await startPostern<{ url: string }>(['server', '--listen', '127.0.0.1:0', '--home', home]);
    running.push(server);
    const made = await must(['token', 'create', 'web', '-o', 'json', '--home', home]);
    const { token } = JSON.parse(made) as { token: string };
    const free = ['inbound', 'outbound', 'admin', 'metrics'].flatMap((name) => [`--${name}`, '127.0.0.1:0']);
    const sidecar = await startPostern<{ metrics: string }>([
      'sidecar',
      '--token',
      token,
      '--home',
      join(folder, 'web'),
      ...free,
    ]);
    running.unshift(sidecar);
    const trust = {
      key: readFileSync(join(home, 'admin', 'key.pem')),
      cert: readFileSync(join(home, 'admin', 'svid.pem')),
      ca: rootsOf(home),
      // The chain is verified against the home's roots; the name of this server is its SPIFFE ID, not a host.
      checkServerIdentity: () => undefined,
    };
    return {
      server: await textAt(`${server.ready.url}/metrics`, trust),
      sidecar: await textAt(`http://${sidecar.ready.metrics}/metrics`),
    };
  } finally {
    for (const each of running) await each.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function must(args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runPostern(args);
  if (code !== 0) throw new Error(`postern ${args.join(' ')}: ${stderr}`);
  return stdout;
}

function rootsOf(home: string): string[] {
  const { bundle } = JSON.parse(readFileSync(join(home, 'bundle.json'), 'utf8')) as { bundle: string };
  const { keys } = JSON.parse(bundle) as { keys: readonly { x5c: readonly string[] }[] };
  return keys.map(
    ({ x5c }) => `-----BEGIN CERTIFICATE-----\n${x5c[0]!.match(/.{1,64}/g)!.join('\n')}\n-----END CERTIFICATE-----\n`,
  );
}

function textAt(url: string, options: RequestOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const ask = url.startsWith('https:') ? get : getPlain;
    ask(url, { ...options, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.on('end', () =>
        response.statusCode === 200 ? resolve(text) : reject(new Error(`${url}: ${response.statusCode} ${text}`)),
      );
    }).on('error', reject);
  });
}

function tableOf(exposition: string): string {
  const labels = declaredLabels();
  const types = new Map([...exposition.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name, type]));
  const rows = [...exposition.matchAll(/^# HELP (\S+) (.*)$/gm)].map(([, name, help]) => {
    const names = (labels.get(name!) ?? []).map((label) => `\`${label}\``).join(', ');
    return `| \`${name}\` | ${types.get(name)} | ${names} | ${cell(help!)} |`;
  });
  return `| Name | Type | Labels | Meaning |\n|---|---|---|---|\n${rows.sort().join('\n')}\n`;
}

/** Label names as the sources declare them: a family without a sample does not show them. */
function declaredLabels(): ReadonlyMap<string, readonly string[]> {
  const pattern = /name: '(postern_\w+)',[^}]*?labels: \[([^\]]*)\]/g;
  const found = readSources()
    .filter(({ path }) => /^(proxy|control)\//.test(path))
    .flatMap(({ text }) => [...text.matchAll(pattern)]);
  return new Map(
    found.map(([, name, labels]) => [name!, [...labels!.matchAll(/'(\w+)'/g)].map(([, label]) => label!)]),
  );
}

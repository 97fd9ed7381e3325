// A thousand services with ten endpoints each, and a control plane that a thousand proxies are connected to: what each of them holds, what a change
// of one endpoint costs, and how soon everybody has a change. `node bench/run.ts scale N` does it with N services.
import { setTimeout as wait } from 'node:timers/promises';
import { systemClock } from '#base/clock';
import { silentLog } from '#base/log';
import { openAuthority } from '#ca';
import { formatBundle, spiffeIdOf } from '#spiffe';
import type { CliContext } from '../cli/context.ts';
import { anyPorts, startPostern } from '../cli/demo/processes.ts';
import { type Bench, type Figure, quantile, residentMb } from './bench.ts';
import { type LightProxies, type LightProxy, type Received, startLightProxies } from './load/proxies.ts';
import { type Mesh, type SidecarReady, startMesh } from './mesh.ts';
import { cpuMicrosOf } from './peers/processes.ts';
import { adminOf } from './push.ts';

const services = Number(process.argv.slice(2).find((word) => /^[0-9]+$/.test(word)) ?? 1_000);
const each = 10;
/** How many others each may call; one of them is `common`, which everybody may. */
const called = 5;
const rounds = 5;
const processes = 4;
const trustDomain = 'mesh.test';
const nameOf = (nth: number): string => (nth % services === 0 ? 'common' : `service-${nth % services}`);

export async function run(): Promise<Bench> {
  const mesh = await startMesh();
  let proxies: LightProxies | undefined;
  try {
    await mesh.server.stop();
    const { all, bundle } = await issue(mesh);
    await mesh.startServer();
    const { pid, ready } = mesh.server;
    const admin = await adminOf(mesh.home);
    await apply(admin, resources());
    const idle = residentMb(pid);
    proxies = startLightProxies({ port: Number(new URL(ready.url).port), trustDomain, bundle }, processes);
    await proxies.add(all.filter(({ watches }) => watches));
    await wait(3_000);
    const figures: Figure[] = [memory(pid, idle)];
    figures.push(...(await changesEverywhere({ admin, pid, proxies, all })));
    for (const { what, measured } of figures) process.stderr.write(`  ${what}: ${measured}\n`);
    await proxies.add(all.filter(({ watches }) => !watches));
    figures.push(...(await oneHolds({ mesh, proxies, all })));
    return {
      title: 'A thousand services',
      how: `${services} services, each with a cluster, a virtual service and a policy that lets it call ${called}; one proxy of each connected to a real control plane (a watch stream and a report connection over mutual TLS, as a sidecar has), in ${processes} processes of their own on the same machine. From sending a change until each has it in its hands, and until the control plane has heard so. Then ${each} endpoints of each, and a real sidecar. Medians of ${rounds} rounds.`,
      figures,
    };
  } finally {
    proxies?.close();
    await mesh.close();
  }
}

/** Identities of all instances, made before the server has the authority: enrolling them is another measurement. */
async function issue(mesh: Mesh): Promise<{ all: LightProxy[]; bundle: string }> {
  const authority = await openAuthority({ home: mesh.home, clock: systemClock, log: silentLog });
  const all: LightProxy[] = [];
  for (let nth = 0; nth < services * each; nth++) {
    const instance = `i${nth}`;
    const id = spiffeIdOf({ trustDomain, service: nameOf(nth) });
    const { key, chain } = authority.issueLocal({ id, instance, ttlMs: 3_600_000 });
    all.push({
      instance,
      key: key.export({ type: 'pkcs8', format: 'pem' }) as string,
      chain: chain.map((der) => Buffer.from(der).toString('base64')),
      advertise: `127.1.${nth >> 8}.${nth & 255}:15008`,
      watches: nth < services,
      from: `127.0.1.${1 + (nth % 100)}`,
    });
  }
  const bundle = formatBundle(authority.bundle());
  authority.close();
  return { all, bundle };
}

function resources(): object[] {
  return Array.from({ length: services }, (_, nth) => {
    const name = nameOf(nth);
    const callers = Array.from({ length: called - 1 }, (_, back) => nameOf(nth + services - 1 - back));
    return [
      policy(name, name === 'common' ? ['*'] : callers),
      {
        ...{ kind: 'Cluster', name, endpoints: 'enrolled', subsets: { v1: { labels: { version: 'v1' } } } },
        outlierDetection: { consecutive5xx: 3 },
      },
      {
        ...{ kind: 'VirtualService', name, hosts: [name] },
        http: [
          { match: [{ path: { prefix: '/v1' } }], route: [{ cluster: name, subset: 'v1' }], timeout: '5s' },
          { route: [{ cluster: name }], retries: { attempts: 2, perTryTimeout: '500ms' } },
        ],
      },
    ];
  }).flat();
}

function policy(to: string, from: readonly string[], more: object = {}): object {
  return { kind: 'Policy', name: `${to}-access`, to, rules: [{ id: 'callers', effect: 'allow', from, ...more }] };
}

function apply(admin: CliContext, all: readonly object[]): Promise<unknown> {
  const body = { version: 1, resources: all.map((resource) => ({ resource })) };
  return admin.withApi((api) => api.call({ method: 'POST', path: '/v1/resources', body }));
}

function memory(pid: number, idle: number): Figure {
  const mb = residentMb(pid);
  return {
    what: `control plane resident, ${services} proxies connected`,
    measured: `${mb.toFixed(0)} MB (${idle.toFixed(0)} MB with the resources and nobody connected)`,
    bar: 'at most 500 MB',
    holds: mb <= 500,
  };
}

interface Pushed {
  readonly admin: CliContext;
  readonly pid: number;
  readonly proxies: LightProxies;
  readonly all: readonly LightProxy[];
}

async function changesEverywhere({ admin, pid, proxies, all }: Pushed): Promise<Figure[]> {
  const times = async (change: (round: number) => unknown, isIt: (one: Received) => boolean) => {
    const measured: { had: number; heard: number; cpu: number; bytes: number }[] = [];
    for (let round = 0; round < rounds; round++) {
      await wait(1_500);
      const cpu = cpuMicrosOf(pid);
      const begun = Date.now();
      const receiving = proxies.receive(services, isIt);
      await change(round);
      const received = await receiving;
      measured.push({
        had: Math.max(...received.map(({ at }) => at)) - begun,
        heard: Math.max(...received.map(({ acknowledgedAt }) => acknowledgedAt)) - begun,
        cpu: (cpuMicrosOf(pid) - cpu) / 1_000,
        bytes: received.reduce((sum, { bytes }) => sum + bytes, 0),
      });
    }
    const median = (of: keyof (typeof measured)[number]): number =>
      quantile(
        measured.map((one) => one[of]),
        0.5,
      );
    return { had: median('had'), heard: median('heard'), cpu: median('cpu'), bytes: median('bytes') };
  };
  const figure = (what: string, { had, heard, cpu, bytes }: Awaited<ReturnType<typeof times>>): Figure => ({
    what,
    measured: `had by the last after ${had.toFixed(0)} ms, heard of from all after ${heard.toFixed(0)} ms; ${(bytes / 1_000).toFixed(0)} kB in all, ${cpu.toFixed(0)} ms CPU of the control plane, reports included`,
    bar: 'under 1 s',
    holds: heard < 1_000,
  });
  const ofPolicy = await times(
    (round) => apply(admin, [policy('common', ['*'], { paths: [`/${round}/**`] })]),
    ({ what }) => what === 'snapshot',
  );
  const ofEndpoint = await times(
    (round) => proxies.move(all[0]!.instance, `127.9.0.${round + 1}:15008`),
    ({ what }) => what === 'change',
  );
  return [
    figure(`a policy that concerns all ${services}`, ofPolicy),
    figure(`an endpoint that all ${services} may call`, ofEndpoint),
  ];
}

async function oneHolds(o: { mesh: Mesh; proxies: LightProxies; all: readonly LightProxy[] }): Promise<Figure[]> {
  const { mesh, proxies, all } = o;
  const caller = nameOf(1);
  const sidecarOf = async (name: string) => {
    const { token } = JSON.parse(await mesh.postern('token', 'create', name, '-o', 'json')) as { token: string };
    const words = ['sidecar', '--home', `${mesh.folder}/real-${name}`, '--app', '127.0.0.1:1', ...anyPorts];
    return startPostern<SidecarReady>([...words, '--token', token]);
  };
  const real = await sidecarOf(caller);
  const bare = await sidecarOf('nobody');
  try {
    await wait(3_000);
    const config = (await (await fetch(`http://${real.ready.admin}/config`)).json()) as {
      readonly services: readonly { readonly endpoints: readonly unknown[] }[];
    };
    const known = config.services.filter((service) => service.endpoints.length > 0);
    const endpoints = known.reduce((sum, service) => sum + service.endpoints.length, 0);
    const whole = JSON.stringify(config).length;
    const bytes: number[] = [];
    // An instance of a service that this and four others may call.
    const moved = all.find((_, nth) => nameOf(nth) === nameOf(3) && nth >= services)!;
    for (let round = 0; round < rounds; round++) {
      const receiving = proxies.receive(1, ({ what, instance }) => what === 'change' && instance === 'i2');
      proxies.move(moved.instance, `127.8.0.${round + 1}:15008`);
      bytes.push((await receiving)[0]!.bytes);
    }
    const [with_, without] = [residentMb(real.pid), residentMb(bare.pid)];
    return [
      {
        what: `a sidecar that may call ${called} of ${services} services`,
        measured: `holds ${endpoints} endpoints of ${known.length} services in ${(whole / 1_000).toFixed(1)} kB; resident ${with_.toFixed(0)} MB, one that may call nobody ${without.toFixed(0)} MB`,
        bar: `only those`,
        holds: known.length === called && endpoints === called * each,
      },
      {
        what: `one of ${each} endpoints changes, of ${services * each} in all`,
        measured: `${quantile(bytes, 0.5)} bytes to each that may call it, of ${(whole / 1_000).toFixed(1)} kB that it holds`,
        bar: 'in proportion to the change',
        holds: quantile(bytes, 0.5) < 500,
      },
    ];
  } finally {
    await Promise.all([real.stop(), bare.stop()]);
  }
}

// A mesh as its users run it: executables on free ports of this machine, in a home of its own, everything ended afterwards.
import { execFile, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { anyPorts, type Finished, type Running, runPostern, startPostern } from '../../cli/demo/processes.ts';
import { programPath } from './programs.ts';

export interface SidecarReady {
  readonly inbound: string;
  readonly outbound: string;
  readonly admin: string;
  readonly metrics: string;
  readonly upstreams: Readonly<Record<string, string>>;
}

export interface PeerMesh {
  readonly folder: string;
  readonly home: string;
  readonly server: { readonly url: string };
  /** A command on the mesh's home; throws when it fails. */
  postern(...args: string[]): Promise<Finished>;
  /** The same with `-o json`. */
  json<T>(...args: string[]): Promise<T>;
  sidecar(o: {
    readonly service: string;
    readonly app: string;
    /** Of its own in the mesh's folder unless said. */
    readonly home?: string;
    readonly more?: readonly string[];
  }): Promise<Running<SidecarReady>>;
  apply(yaml: string): Promise<void>;
  /** A program that serves until the end of the mesh; resolves when its port accepts. */
  serve(o: {
    readonly name: string;
    readonly args: readonly string[];
    readonly address: string;
    readonly cwd?: string;
    /** Whose process it is, for programs that refuse to run as root. */
    readonly user?: { readonly uid: number; readonly gid: number } | undefined;
  }): Promise<void>;
  end(): Promise<void>;
}

export async function startPeerMesh(): Promise<PeerMesh> {
  const folder = mkdtempSync(join(tmpdir(), 'postern-peers-'));
  const home = join(folder, 'home');
  const endings: (() => Promise<unknown>)[] = [];
  const postern = async (...args: string[]): Promise<Finished> => {
    const done = await runPostern([...args, '--home', home]);
    if (done.code !== 0) throw new Error(`postern ${args.join(' ')} ended with ${done.code}: ${done.stderr}`);
    return done;
  };
  await postern('ca', 'init', '--trust-domain', 'example.org');
  const server = await startPostern<{ url: string }>(['server', '--listen', '127.0.0.1:0', '--home', home]);
  endings.unshift(() => server.stop());
  return {
    folder,
    home,
    server: server.ready,
    postern,
    json: async <T>(...args: string[]) => JSON.parse((await postern(...args, '-o', 'json')).stdout) as T,
    async sidecar({ service, app, home: own = join(folder, `sidecar-${endings.length}`), more = [] }) {
      const { stdout } = await postern('token', 'create', service, '-o', 'json');
      const { token } = JSON.parse(stdout) as { token: string };
      const given = ['--home', own, '--token', token, '--app', app];
      const running = await startPostern<SidecarReady>(['sidecar', ...given, ...anyPorts, ...more]);
      endings.unshift(() => running.stop());
      return running;
    },
    async apply(yaml) {
      const file = join(folder, 'policy.yaml');
      writeFileSync(file, yaml);
      await postern('apply', '-f', file);
    },
    async serve({ name, args, address, cwd = folder, user }) {
      const child = spawn(programPath(name), args, { cwd, stdio: 'ignore', ...user });
      const ended = new Promise((resolve) => child.on('close', resolve));
      endings.unshift(async () => {
        child.kill('SIGTERM');
        await ended;
      });
      await Promise.race([
        accepting(address),
        ended.then((code) => {
          throw new Error(`${name} ended with ${String(code)}`);
        }),
      ]);
    },
    async end() {
      for (const ending of endings) await ending();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export interface Curled {
  readonly status: number;
  readonly headers: string;
  readonly body: string;
}

/** What curl got. Fails only when curl got no answer at all. */
export function curl(...args: string[]): Promise<Curled> {
  return new Promise((resolve, reject) => {
    const all = ['--silent', '--show-error', '--include', '--max-time', '20', '--suppress-connect-headers', ...args];
    execFile(programPath('curl'), all, { maxBuffer: 64 * 2 ** 20, encoding: 'latin1' }, (error, stdout, stderr) => {
      if (error) return reject(new Error(`curl ${args.join(' ')}: ${stderr}`));
      // An interim answer (100 Continue) comes before the real one.
      const text = stdout.replace(/^(HTTP\/1\.1 1\d\d[^\r]*\r\n(?:[^\r\n]+\r\n)*\r\n)+/, '');
      const end = text.indexOf('\r\n\r\n');
      resolve({ status: Number(text.slice(9, 12)), headers: text.slice(0, end), body: text.slice(end + 4) });
    });
  });
}

/** A loopback address that was free a moment ago, for programs that cannot choose one and say which. */
export async function freeAddress(): Promise<string> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  return `127.0.0.1:${port}`;
}

/** An nginx that answers as an application would, unprivileged, logging into its folder. */
export async function startNginx(mesh: PeerMesh, locations: string): Promise<string> {
  const address = await freeAddress();
  const folder = join(mesh.folder, `nginx-${address.split(':')[1]}`);
  mkdirSync(join(folder, 'www'), { recursive: true });
  writeFileSync(
    join(folder, 'nginx.conf'),
    `daemon off; worker_processes 1; pid ${folder}/pid; error_log ${folder}/error.log;
     events {}
     http {
       access_log ${folder}/access.log; client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy;
       fastcgi_temp_path ${folder}/fastcgi; uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi; client_max_body_size 0;
       server { listen ${address}; root ${folder}/www; ${locations} }
     }`,
  );
  await mesh.serve({
    name: 'nginx',
    args: ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', join(folder, 'error.log')],
    address,
  });
  return address;
}

/** Resolves when a program accepts connections; gives up after ten seconds. */
async function accepting(address: string): Promise<void> {
  const [host, port] = address.split(':');
  for (let attempt = 0; attempt < 200; attempt++) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect({ host: host!, port: Number(port) });
      socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
      socket.on('connect', () => socket.destroy());
    });
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`nothing accepts on ${address}`);
}

// A mesh of real processes for benchmarks and endurance runs: a home, a server, applications and their sidecars, on free loopback ports.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseHostPort } from '#base/host-port';
import { anyPorts, type Running, type RunningApp, runPostern, startApp, startPostern } from '../cli/demo/processes.ts';

export interface SidecarReady {
  readonly inbound: string;
  readonly outbound: string;
  readonly admin: string;
  readonly metrics: string;
}

export interface Member {
  readonly name: string;
  readonly app: RunningApp;
  /** Its command line but for the token: what a restart takes. */
  readonly words: readonly string[];
  sidecar: Running<SidecarReady>;
  /** Where its app reaches the mesh. */
  outbound(): { host: string; port: number };
}

export interface Mesh {
  readonly folder: string;
  readonly home: string;
  server: Running<{ url: string }>;
  startServer(): Promise<void>;
  /** Runs a command that has to succeed against this mesh's home; its standard output. */
  postern(...args: string[]): Promise<string>;
  apply(yaml: string): Promise<string>;
  join(name: string): Promise<Member>;
  close(): Promise<void>;
}

/** Makes a CA with these `ca init` flags and starts its server. */
export async function startMesh(initFlags: readonly string[] = []): Promise<Mesh> {
  const folder = mkdtempSync(join(tmpdir(), 'postern-mesh-'));
  const home = join(folder, 'home');
  const members: Member[] = [];
  let port = 0;
  const postern = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await runPostern([...args, '--home', home]);
    if (code !== 0) throw new Error(`postern ${args.join(' ')} exited with ${code}: ${stderr}${stdout}`);
    return stdout;
  };
  const startServer = async (): Promise<Running<{ url: string }>> => {
    const server = await startPostern<{ url: string }>(['server', '--home', home, '--listen', `127.0.0.1:${port}`]);
    port = Number(new URL(server.ready.url).port);
    return server;
  };
  await postern('ca', 'init', '--trust-domain', 'mesh.test', ...initFlags);
  const mesh: Mesh = {
    folder,
    home,
    server: await startServer(),
    async startServer() {
      mesh.server = await startServer();
    },
    postern,
    async apply(yaml) {
      const file = join(folder, 'policies.yaml');
      writeFileSync(file, yaml);
      return postern('apply', '-f', file);
    },
    async join(name) {
      const app = await startApp(name);
      const { token } = JSON.parse(await postern('token', 'create', name, '-o', 'json')) as { token: string };
      const own = join(folder, `${name}-${members.length}`);
      const words = [
        'sidecar',
        '--home',
        own,
        '--app',
        app.address,
        ...anyPorts,
        '--label',
        `instance=${members.length}`,
      ];
      const sidecar = await startPostern<SidecarReady>([...words, '--token', token]);
      const member: Member = {
        name,
        app,
        words,
        sidecar,
        outbound: () => parseHostPort(member.sidecar.ready.outbound)!,
      };
      app.useProxy(member.outbound());
      members.push(member);
      return member;
    },
    async close() {
      await Promise.all(members.flatMap(({ app, sidecar }) => [app.stop(), sidecar.stop()]));
      await mesh.server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return mesh;
}

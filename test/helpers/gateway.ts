// A mesh of real processes with a gateway in it: a control plane, sidecars with an application in this process, and clients of the gateway.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, onTestFinished } from 'vitest';
import { anyPorts } from '../../cli/demo/processes.ts';
import { openRaw } from './mesh.ts';
import { createHome, runPostern } from './postern.ts';
import { initHome, type Process, startProcess } from './processes.ts';

export interface GatewayReady {
  readonly admin: string;
  readonly metrics: string;
  readonly services: readonly {
    readonly service: string;
    readonly instance: string;
    readonly inbound?: string;
    readonly outbound?: string;
    readonly upstreams?: Readonly<Record<string, string>>;
    readonly listeners?: readonly string[];
  }[];
}

export interface Town {
  /** A folder of this test alone. */
  readonly folder: string;
  readonly home: string;
  /** The control plane. */
  readonly server: Process;
  token(service: string): Promise<string>;
  /** Applies resources as an operator writes them. */
  apply(yaml: string): Promise<void>;
  /** A sidecar beside an application at this port. */
  sidecar(service: string, appPort: number, ...words: string[]): Promise<Process>;
  /** A gateway with this file, and tokens for these services. */
  gateway(yaml: string, services: readonly string[], ...words: string[]): Promise<Process<GatewayReady>>;
  /** A gateway on a home that has its identities already. */
  restart(home: string, file: string): Promise<Process<GatewayReady>>;
  /** Writes a file beside the gateway's own. */
  write(name: string, text: string, mode?: number): string;
  postern(...words: string[]): ReturnType<typeof runPostern>;
}

/** The control plane of one test file, with all that is started by it; `end` stops everything. */
export async function startTown(): Promise<Town & { end(): Promise<void> }> {
  const own = createHome();
  const folder = own.path;
  const home = join(folder, 'home');
  await initHome(home);
  const server = await startProcess(['server', '--home', home, '--listen', '127.0.0.1:0']);
  const postern = async (...words: string[]) => {
    const outcome = await runPostern(['--home', home, ...words]);
    if (outcome.code !== 0) throw new Error(`postern ${words.join(' ')}: ${outcome.stderr}`);
    return outcome;
  };
  let count = 0;
  const write: Town['write'] = (name, text, mode = 0o600) => {
    const path = join(folder, name);
    writeFileSync(path, text, { mode });
    return path;
  };
  /** At the end of the test that started it, or of the town when that was no test. */
  const kept: Process<unknown>[] = [];
  const ending = <T>(process: Process<T>): Process<T> => {
    try {
      onTestFinished(async () => void (await process.stop()));
    } catch {
      kept.push(process);
    }
    return process;
  };
  const token: Town['token'] = async (service) =>
    (JSON.parse((await postern('token', 'create', service, '-o', 'json')).stdout) as { token: string }).token;
  return {
    folder,
    home,
    server,
    token,
    write,
    postern,
    async apply(yaml) {
      await postern('apply', '-f', write(`applied-${++count}.yaml`, yaml));
    },
    async sidecar(service, appPort, ...words) {
      const place = join(folder, `sidecar-${++count}`);
      const given = ['--home', place, '--token', await token(service), '--app', `127.0.0.1:${appPort}`];
      return ending(await startProcess(['sidecar', ...given, ...anyPorts, ...words]));
    },
    async gateway(yaml, services, ...words) {
      const number = ++count;
      const file = write(`gateway-${number}.yaml`, yaml);
      const tokens = await Promise.all(services.map(token));
      const given = ['--home', join(folder, `gateway-${number}`), '--config', file];
      return ending(
        await startProcess<GatewayReady>(['gateway', ...given, ...tokens.flatMap((one) => ['--token', one]), ...words]),
      );
    },
    async restart(place, file) {
      return ending(await startProcess<GatewayReady>(['gateway', '--home', place, '--config', file]));
    },
    async end() {
      await Promise.all(kept.map((process) => process.stop()));
      await server.stop();
      own[Symbol.dispose]();
    },
  };
}

/** The town of a test file: there from before its first test until after its last. */
export function townOfFile(): Town {
  const town = {} as Awaited<ReturnType<typeof startTown>>;
  beforeAll(async () => {
    Object.assign(town, await startTown());
  }, 60_000);
  afterAll(() => town.end());
  return town;
}

/** The port of HOST:PORT. */
export function portOf(address: string | undefined): number {
  return Number(address?.split(':').at(-1));
}

/** One request to a port, its connection closed after it. */
export async function ask(
  port: number,
  lines: readonly string[],
): Promise<{ status: number; head: string; body: string }> {
  const client = await openRaw(port);
  client.send([...lines, 'connection: close', '', ''].join('\r\n'));
  const text = await client.closed();
  const end = text.indexOf('\r\n\r\n');
  return { status: Number(text.slice(9, 12)), head: text.slice(0, end), body: text.slice(end + 4) };
}

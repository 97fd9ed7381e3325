// A control plane and sidecars, all real and in this process, and the command line against them: what commands show of a mesh that runs.
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import { systemClock } from '#base/clock';
import { isPosternError } from '#base/error';
import { silentLog } from '#base/log';
import { type Sidecar, type SidecarConfig, startSidecar } from '#proxy';
import type { StatusReply } from '#wire';
import { type CliContext, createContext } from '../../cli/context.ts';
import { exitCodeOf } from '../../cli/exit-codes.ts';
import { createProgram, usageFailure } from '../../cli/program.ts';
import { createMesh, type Mesh, type MeshOptions } from './control-plane.ts';
import { temporaryFolder } from './folder.ts';
import { createSink } from './sink.ts';
import { eventually } from './until.ts';

export interface CommandOutcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Of one JSON result. */
  json<T = Record<string, unknown>>(): T;
}

export interface RunningCommand {
  readonly stdout: string;
  readonly stderr: string;
  /** As Ctrl-C does. */
  stop(): void;
  readonly done: Promise<CommandOutcome>;
}

export interface LiveMesh {
  readonly mesh: Mesh;
  /** Applies these resources and waits until every proxy has them. */
  apply(...resources: readonly unknown[]): Promise<void>;
  sidecar(service: string, more?: Partial<SidecarConfig>): Promise<Sidecar>;
  /** Waits until every live proxy holds what it must. */
  synced(): Promise<StatusReply>;
  /** `postern WORDS` as its admin. */
  run(...words: readonly string[]): Promise<CommandOutcome>;
  start(...words: readonly string[]): RunningCommand;
}

const clock = { ...systemClock, advance: () => undefined, step: () => undefined };

export async function startLiveMesh(options: MeshOptions = {}): Promise<LiveMesh> {
  const mesh = await createMesh({ clock, ...options });
  const home = temporaryFolder();
  const status = () => mesh.admin.call<StatusReply>({ method: 'GET', path: '/v1/status' });
  const synced = () =>
    eventually(status, ({ proxies }) => proxies.every(({ sync }) => sync === 'synced' || sync === 'gone'));

  const start = (...words: readonly string[]): RunningCommand => {
    const [stdout, stderr] = [createSink(), createSink()];
    let stop = (): void => undefined;
    const control = createContext({
      ...{ env: { HOME: home, POSTERN_HOME: home }, stdout, stderr, clock },
      onStop: (given) => {
        stop = given;
      },
    });
    const { call, stream } = mesh.admin;
    const api = { url: mesh.server.url, trustDomain: 'example.org', call, stream };
    const context: CliContext = Object.defineProperties(
      Object.create(control.context, { withApi: { value: (work: (given: typeof api) => unknown) => work(api) } }),
      { output: { get: () => control.context.output }, options: { get: () => control.context.options } },
    );
    const run = async (): Promise<CommandOutcome> => {
      let code = 0;
      try {
        const only = words.find((word) => !word.startsWith('-'));
        const program = await createProgram({ context, configure: control.configure, only });
        await program.parseAsync(words as string[], { from: 'user' });
        code = control.exitCode();
      } catch (thrown) {
        const isUsage = String((thrown as { code?: unknown }).code).startsWith('commander.');
        const failure = isUsage ? usageFailure(thrown as Parameters<typeof usageFailure>[0], words) : thrown;
        if (!isUsage && !isPosternError(thrown)) throw thrown;
        control.context.output.error(failure);
        code = exitCodeOf(failure);
      }
      return { code, stdout: stdout.text, stderr: stderr.text, json: () => JSON.parse(stdout.text) };
    };
    return {
      get stdout() {
        return stdout.text;
      },
      get stderr() {
        return stderr.text;
      },
      stop: () => stop(),
      done: run(),
    };
  };

  return {
    mesh,
    synced,
    async apply(...resources) {
      const body = { version: 1, resources: resources.map((resource) => ({ resource })) };
      await mesh.admin.call({ method: 'POST', path: '/v1/resources', body });
      await synced();
    },
    async sidecar(service, more = {}) {
      const any = '127.0.0.1:0';
      const config = { home: temporaryFolder(), app: '127.0.0.1:9', inbound: any, outbound: any, admin: any };
      const sidecar = await startSidecar(
        {
          ...config,
          metrics: any,
          upstreams: {},
          labels: {},
          drainMs: 1_000,
          token: await mesh.token(service),
          ...more,
        },
        { clock: systemClock, log: silentLog },
      );
      onTestFinished(() => sidecar.close());
      return sidecar;
    },
    start,
    run: (...words) => start(...words).done,
  };
}

/** An application beside a sidecar; HOST:PORT. */
export async function startApp(
  answer: (request: IncomingMessage, response: ServerResponse) => void = (_, response) => void response.end('ok\n'),
): Promise<string> {
  const server = createServer((request, response) => request.resume().on('end', () => answer(request, response)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** One call of the application beside a sidecar; its status. */
export function callThrough(
  sidecar: Sidecar,
  o: {
    readonly method?: string;
    readonly host: string;
    readonly path: string;
    readonly headers?: Readonly<Record<string, string>>;
  },
): Promise<number> {
  const { method = 'GET', host, path, headers = {} } = o;
  return new Promise((resolve, reject) => {
    const options = { method, agent: false, headers: { ...headers, host } };
    const request = httpRequest(`http://${sidecar.addresses.outbound}${path}`, options, (response) => {
      response.resume().on('end', () => resolve(response.statusCode ?? 0));
    });
    request.on('error', reject);
    request.end();
  });
}

/** `from` may do this with `to`. */
export const policyFor = (to: string, from: readonly string[], methods: readonly string[] = ['GET']) => ({
  kind: 'Policy',
  name: `${to}-access`,
  to,
  rules: [{ id: 'calls', effect: 'allow', from, methods }],
});

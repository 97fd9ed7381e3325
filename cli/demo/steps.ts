// Steps that several chapters of the demo take: a service joins, resources are applied, an answer is waited for.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { parseHostPort } from '#base/host-port';
import { anyPorts, type RunningApp } from './processes.ts';
import type { Stage } from './stage.ts';

/** Starts an instance of a service: its application and its sidecar. */
export async function joinMesh(
  stage: Stage,
  folder: string,
  { service, version }: { readonly service: string; readonly version: string },
): Promise<{ readonly app: RunningApp; readonly outbound: string }> {
  const instance = version === 'v1' ? service : `${service}-${version}`;
  const app = await stage.startApp(instance);
  const { token } = JSON.parse(await stage.postern('token', 'create', service, '-o', 'json')) as { token: string };
  const own = [
    '--home',
    join(folder, instance),
    '--token',
    token,
    '--app',
    app.address,
    '--label',
    `version=${version}`,
  ];
  const { ready } = await stage.start<{ outbound: string }>('sidecar', ...own, ...anyPorts);
  app.useProxy(parseHostPort(ready.outbound)!);
  return { app, outbound: ready.outbound };
}

/** Writes resources to a file of this name and applies it. */
export async function apply(stage: Stage, folder: string, name: string, yaml: string): Promise<void> {
  const file = join(folder, `${name}.yaml`);
  writeFileSync(file, yaml);
  await stage.postern('apply', '-f', file);
}

/** Asks again, every 20 ms for at most 5 s, until the answer is good; the last answer. */
export async function until<T>(ask: () => Promise<T>, good: (answer: T) => boolean): Promise<T> {
  const end = performance.now() + 5_000;
  for (;;) {
    const answer = await ask();
    if (good(answer) || performance.now() > end) return answer;
    await wait(20);
  }
}

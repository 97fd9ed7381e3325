// How fast a policy that was applied on the control plane is in force in a hundred sidecars that hold live connections. The moment is each
// sidecar's own, on the one clock of this machine; the next request on every kept-alive connection then has to be denied.
import { setTimeout as wait } from 'node:timers/promises';
import { s } from '#base/schema';
import { type CliContext, createContext } from '../cli/context.ts';
import { type Answer, type Caller, createCaller } from '../cli/demo/client.ts';
import { type Bench, quantile } from './bench.ts';
import { type Member, startMesh } from './mesh.ts';

const sidecars = 100;
const rounds = 5;
const url = 'http://target/';

export async function run(): Promise<Bench> {
  const mesh = await startMesh();
  const callers: Caller[] = [];
  try {
    const members = [await mesh.join('target')];
    for (let index = 1; index <= sidecars; index++) {
      members.push(await mesh.join(`caller-${index}`));
      callers.push(createCaller(members.at(-1)!.outbound()));
      if (index % 20 === 0) process.stderr.write(`  ${index} sidecars joined\n`);
    }
    const context = await adminOf(mesh.home);
    const halves: number[] = [];
    const lasts: number[] = [];
    await context.withApi(async (api) => {
      const apply = (effect: 'allow' | 'deny') =>
        api.call({ method: 'POST', path: '/v1/resources', body: policy(effect), reply });
      for (let round = 0; round < rounds; round++) {
        const allowedAt = Date.now();
        await apply('allow');
        await Promise.all(members.map((member) => inForceAfter(member, allowedAt)));
        const before = await callEach(callers);
        await wait(2_000);
        const begun = Date.now();
        await apply('deny');
        const times = await Promise.all(members.map((member) => inForceAfter(member, begun)));
        const after = await callEach(callers);
        after.forEach((now, index) => {
          const then = before[index]!;
          if (then.status !== 200 || now.status !== 403 || now.connection !== then.connection)
            throw new Error(
              `caller ${index} was answered ${then.status} ${then.body} and then ${now.status} ${now.body}`,
            );
        });
        halves.push(quantile(times, 0.5));
        lasts.push(Math.max(...times));
      }
    });
    const last = quantile(lasts, 0.5);
    return {
      title: 'A changed policy, enforced on live connections',
      how: `${sidecars} sidecar processes and their target beside the control plane, all on this one machine, a kept-alive connection in each. From sending the change until a sidecar decides by it; the next request on each of the same connections was seen to be denied. Medians of ${rounds} rounds.`,
      figures: [
        { what: 'half of the sidecars', measured: `${quantile(halves, 0.5).toFixed(0)} ms` },
        { what: 'the last of them', measured: `${last.toFixed(0)} ms`, bar: 'at most 250 ms', holds: last <= 250 },
      ],
    };
  } finally {
    for (const caller of callers) caller.close();
    await mesh.close();
  }
}

/** One after the other: a hundred first handshakes at once would be another measurement. */
async function callEach(callers: readonly Caller[]): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (const caller of callers) answers.push(await caller.call('GET', url));
  return answers;
}

const reply = s.object({ revision: s.integer(), changes: s.array(s.unknown()) });

function policy(effect: 'allow' | 'deny') {
  const rules = [{ id: 'everyone', effect, from: ['*'] }];
  return { version: 1, resources: [{ resource: { kind: 'Policy', name: 'target-access', to: 'target', rules } }] };
}

/** The command line's own way to the control plane, in this process. */
export async function adminOf(home: string): Promise<CliContext> {
  const sink = { write: () => true, on: () => undefined };
  const { context, configure } = createContext({ env: {}, stdout: sink, stderr: sink });
  await configure({ home });
  return context;
}

/** Milliseconds from `begun` (epoch) until the sidecar says that its next configuration is in force. */
async function inForceAfter({ sidecar }: Member, begun: number): Promise<number> {
  for (;;) {
    for (const line of sidecar.log().trimEnd().split('\n').reverse()) {
      if (!line.includes('a configuration is in force')) continue;
      const at = Date.parse((JSON.parse(line) as { time: string }).time);
      if (at >= begun) return at - begun;
      break;
    }
    await wait(250);
  }
}

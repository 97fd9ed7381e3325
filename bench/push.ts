// How fast a policy that was applied on the control plane is enforced on live connections of a hundred sidecars: each has a response running
// on a kept-alive connection, which the new policy forbids. Nobody polls, so what is measured is the push and not the load of asking.
import { s } from '#base/schema';
import { type CliContext, createContext } from '../cli/context.ts';
import { createCaller, type Followed } from '../cli/demo/client.ts';
import { type Bench, quantile } from './bench.ts';
import { startMesh } from './mesh.ts';

const sidecars = 100;
const rounds = 5;

export async function run(): Promise<Bench> {
  const mesh = await startMesh();
  const callers: ReturnType<typeof createCaller>[] = [];
  try {
    await mesh.join('target');
    for (let index = 0; index < sidecars; index++) {
      callers.push(createCaller((await mesh.join(`caller-${index}`)).outbound()));
      if (index % 20 === 19) process.stderr.write(`  ${index + 1} sidecars joined\n`);
    }
    const context = await adminOf(mesh.home);
    const medians: number[] = [];
    const lasts: number[] = [];
    await context.withApi(async (api) => {
      const apply = (effect: 'allow' | 'deny') =>
        api.call({ method: 'POST', path: '/v1/resources', body: policy(effect), reply });
      for (let round = 0; round < rounds; round++) {
        await apply('allow');
        const running = await Promise.all(
          callers.map((caller) => until200(() => caller.follow('http://target/feed?everyMs=500'))),
        );
        const begun = performance.now();
        const cut = running.map(({ ended }) => ended.then(() => performance.now() - begun));
        await apply('deny');
        const times = await Promise.all(cut);
        for (const caller of callers) {
          const { status } = await caller.call('GET', 'http://target/');
          if (status !== 403) throw new Error(`a call was answered ${status} under a policy that denies it`);
        }
        medians.push(quantile(times, 0.5));
        lasts.push(Math.max(...times));
      }
    });
    const last = quantile(lasts, 0.5);
    return {
      title: 'A changed policy, enforced on live connections',
      how: `${sidecars} sidecar processes beside the control plane on this one machine; each has a response running that the new policy forbids. From sending the change to the control plane until it is cut; every next call was seen to be denied. Medians of ${rounds} rounds.`,
      figures: [
        { what: 'half of the sidecars', measured: `${quantile(medians, 0.5).toFixed(0)} ms` },
        { what: 'the last of them', measured: `${last.toFixed(0)} ms`, bar: 'at most 250 ms', holds: last <= 250 },
      ],
    };
  } finally {
    for (const caller of callers) caller.close();
    await mesh.close();
  }
}

const reply = s.object({ revision: s.integer(), changes: s.array(s.unknown()) });

function policy(effect: 'allow' | 'deny') {
  const rules = [{ id: 'everyone', effect, from: ['*'] }];
  return { version: 1, resources: [{ resource: { kind: 'Policy', name: 'target-access', to: 'target', rules } }] };
}

/** The command line's own way to the control plane, in this process. */
async function adminOf(home: string): Promise<CliContext> {
  const sink = { write: () => true, on: () => undefined };
  const { context, configure } = createContext({ env: {}, stdout: sink, stderr: sink });
  await configure({ home });
  return context;
}

async function until200(open: () => Promise<Followed>): Promise<Followed> {
  for (;;) {
    const followed = await open();
    if (followed.status === 200) return followed;
    await followed.ended;
  }
}

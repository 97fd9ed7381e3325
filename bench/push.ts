// How fast a policy that was applied on the control plane is enforced on live keep-alive connections of a hundred sidecars.
import { Agent, request } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import { type Bench, quantile } from './bench.ts';
import { type Member, startMesh } from './mesh.ts';

const sidecars = 100;
const rounds = 3;

const policies = (effect: 'allow' | 'deny'): string => `
kind: Policy
name: target-access
to: target
rules:
  - { id: everyone, effect: ${effect}, from: ["*"] }
`;

export async function run(): Promise<Bench> {
  const mesh = await startMesh();
  try {
    const callers: Member[] = [];
    await mesh.join('target');
    for (let index = 0; index < sidecars; index++) {
      callers.push(await mesh.join(`caller-${index}`));
      if (index % 10 === 9) process.stderr.write(`  ${index + 1} sidecars joined\n`);
    }
    await mesh.apply(policies('allow'));
    const connections = callers.map((caller) => keepAlive(caller));
    for (const call of connections) await until(call, 200);

    const fromCommand: number[] = [];
    const fromReply: number[] = [];
    for (let round = 0; round < rounds; round++) {
      await mesh.apply(policies('allow'));
      for (const call of connections) await until(call, 200);
      // Each connection asks every 5 ms or as fast as it is answered, from before the change until it is denied.
      const denied = connections.map(async (call) => {
        await until(call, 403);
        return performance.now();
      });
      await wait(200);
      const begun = performance.now();
      const applied = mesh.apply(policies('deny')).then(() => performance.now());
      const times = await Promise.all(denied);
      const replied = await applied;
      fromCommand.push(Math.max(...times) - begun);
      fromReply.push(Math.max(0, Math.max(...times) - replied));
    }
    const last = quantile(fromCommand, 0.5);
    return {
      title: 'A changed policy, enforced on live connections',
      how: `${sidecars} sidecar processes, one kept-alive connection to each that never stops asking; medians of ${rounds} rounds. All of it on this one machine, the callers and the \`postern apply\` process included.`,
      figures: [
        { what: 'from exec of `postern apply` to the last of them denying', measured: `${last.toFixed(0)} ms` },
        {
          what: 'from the command having returned to the last of them denying',
          measured: `${quantile(fromReply, 0.5).toFixed(0)} ms`,
          bar: 'at most 250 ms',
          holds: quantile(fromReply, 0.5) <= 250,
        },
      ],
    };
  } finally {
    await mesh.close();
  }
}

/** Calls the target over one connection that is kept alive; the status. */
function keepAlive(member: Member): () => Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  return () =>
    new Promise((resolve, reject) => {
      const call = request(
        { ...member.outbound(), agent, path: 'http://target/', headers: { host: 'target' } },
        (answer) => {
          answer.resume().on('end', () => resolve(answer.statusCode ?? 0));
        },
      );
      call.on('error', reject).end();
    });
}

async function until(call: () => Promise<number>, status: number): Promise<void> {
  while ((await call()) !== status) await wait(5);
}

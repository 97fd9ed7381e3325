// New mutual TLS connections one after the other, several at a time, each ended as soon as it is made. In a process of its own, which counts them.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect, createSecureContext } from 'node:tls';
import { fileURLToPath } from 'node:url';
import type { ClientFiles } from '../peers/postern.ts';

export interface HandshakeLoad {
  readonly port: number;
  readonly client: ClientFiles;
  readonly seconds: number;
  /** Key exchange groups that the client offers. */
  readonly groups: string;
}

const file = fileURLToPath(import.meta.url);
const atATime = 8;

/** How many were made. The other end has verified each: it ends after our end, which it reads after our certificate. */
export async function runHandshakes(o: HandshakeLoad): Promise<number> {
  const child = fork(file, ['as-client'], { execArgv: [] });
  child.send(o);
  const [answer] = (await once(child, 'message')) as [{ made: number } | { fault: string }];
  child.disconnect();
  await once(child, 'exit');
  if ('fault' in answer) throw new Error(answer.fault);
  return answer.made;
}

if (process.argv[1] === file && process.argv[2] === 'as-client')
  process.once('message', (load: HandshakeLoad) =>
    generate(load).then(
      (made) => process.send!({ made }),
      (thrown: Error) => process.send!({ fault: thrown.message }),
    ),
  );

async function generate({ port, client, seconds, groups }: HandshakeLoad): Promise<number> {
  const secureContext = createSecureContext({ ...client, minVersion: 'TLSv1.3', ecdhCurve: groups });
  const end = performance.now() + seconds * 1_000;
  let made = 0;
  const one = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const socket = connect({
        ...{ host: '127.0.0.1', port, secureContext, ALPNProtocols: ['h2', 'http/1.1'], servername: '' },
        checkServerIdentity: () => undefined,
      });
      let isMade = false;
      socket.on('secureConnect', () => {
        isMade = true;
        socket.end();
      });
      socket.on('error', (error) => (isMade ? undefined : reject(error)));
      socket.on('close', () => {
        if (isMade) made++;
        resolve();
      });
      socket.resume();
    });
  const worker = async (): Promise<void> => {
    while (performance.now() < end) await one();
  };
  await Promise.all(Array.from({ length: atATime }, worker));
  return made;
}

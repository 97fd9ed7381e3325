// Processes that are measured: started, known by their ids, accounted for by the kernel with all their threads and children, ended by their ids.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { residentMb } from '../bench.ts';

export interface Measured {
  readonly pid: number;
  /** Microseconds of CPU so far, user and system, its threads and children included; steps of 10 ms. */
  cpu(): number;
  /** Resident megabytes, children included. */
  mb(): number;
  stop(): Promise<void>;
}

/** Starts a program that serves on `port`; resolves when it accepts. */
export async function startServer(o: {
  readonly command: string;
  readonly args: readonly string[];
  readonly port: number;
}): Promise<Measured> {
  const child = spawn(o.command, o.args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-4_096);
  });
  const measured = measuredOf(child);
  for (let tries = 0; !(await accepts(o.port)); tries++) {
    if (child.exitCode !== null || tries > 200) {
      await measured.stop();
      throw new Error(`${o.command} does not serve: ${said.trim()}`);
    }
    await wait(25);
  }
  return measured;
}

export function measuredOf(child: ChildProcess): Measured {
  const pid = child.pid!;
  const ended = once(child, 'exit');
  return {
    pid,
    cpu: () => familyOf(pid).reduce((sum, one) => sum + cpuMicrosOf(one), 0),
    mb: () => familyOf(pid).reduce((sum, one) => sum + residentMb(one), 0),
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGTERM');
      const patience = setTimeout(() => child.kill('SIGKILL'), 5_000);
      await ended;
      clearTimeout(patience);
    },
  };
}

/** So many loopback ports that were free a moment ago. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}

function familyOf(pid: number): number[] {
  let children = '';
  try {
    children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
  } catch {
    // It has just ended.
  }
  return [pid, ...children.split(' ').filter(Boolean).map(Number).flatMap(familyOf)];
}

const ticksPerSecond = 100;

/** Fields 14 and 15 of /proc/PID/stat (proc(5)), after the name, which may hold anything. */
export function cpuMicrosOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1_000_000) / ticksPerSecond;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const settle = (does: boolean) => (): void => {
      socket.destroy();
      resolve(does);
    };
    socket.on('connect', settle(true)).on('error', settle(false));
  });
}

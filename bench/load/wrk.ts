// Closed loop by wrk: each connection sends its next request when the answer to the last has come.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { neededPath } from '../peers/programs.ts';

export interface WrkResult {
  readonly requests: number;
  readonly perSecond: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

export interface WrkOptions {
  readonly port: number;
  readonly connections: number;
  readonly seconds: number;
  readonly path?: string;
  /** Sends POSTs with the body that this script sets. */
  readonly script?: string;
}

/** Throws when anything but 2xx was answered or a connection broke. */
export async function runWrk(o: WrkOptions): Promise<WrkResult> {
  const script = o.script ? ['-s', o.script] : [];
  const args = ['-t1', `-c${o.connections}`, `-d${o.seconds}s`, '--latency', '--timeout', '10s', ...script];
  const url = `http://127.0.0.1:${o.port}${o.path ?? '/charges/1'}`;
  const child = spawn(neededPath('wrk'), [...args, '-H', 'Host: payments', url], { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (more: string) => {
      text += more;
    });
  await once(child, 'close');
  const found = (pattern: RegExp): string => pattern.exec(text)?.[1] ?? '';
  const requests = Number(found(/(\d+) requests in/));
  const wrong = found(/(Non-2xx or 3xx responses: \d+)/) || found(/(Socket errors: .*)/);
  if (!requests || wrong) throw new Error(`wrk on port ${o.port}: ${wrong || text}`);
  const at = (share: number): number => milliseconds(found(new RegExp(`\\b${share}%\\s+(\\S+)`)));
  return { requests, perSecond: Number(found(/Requests\/sec:\s+(\S+)/)), p50: at(50), p90: at(90), p99: at(99) };
}

/** A script that has wrk send bodies of so many bytes. */
export function writeUploadScript(folder: string, bytes: number): string {
  const file = join(folder, `upload-${bytes}.lua`);
  writeFileSync(file, `wrk.method = "POST"\nwrk.body = string.rep("x", ${bytes})\n`);
  return file;
}

function milliseconds(text: string): number {
  const value = Number.parseFloat(text);
  if (text.endsWith('us')) return value / 1_000;
  if (text.endsWith('ms')) return value;
  return value * (text.endsWith('m') ? 60_000 : 1_000);
}

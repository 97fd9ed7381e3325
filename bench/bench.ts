// What a benchmark is and how its figures are taken. Claims are ratios against a primitive or a peer measured in the same run, or sizes and
// times of whole processes; nothing here fails on a slow machine.
import { readFileSync } from 'node:fs';

export interface Figure {
  readonly what: string;
  readonly measured: string;
  /** The bar that design and issues set, in words. */
  readonly bar?: string;
  readonly holds?: boolean;
}

export interface Bench {
  readonly title: string;
  /** How it was measured, in a sentence or two. */
  readonly how: string;
  readonly figures: readonly Figure[];
}

/** Microseconds of CPU (user and system) that `work` took in this process, for each of `rounds` calls. */
export async function cpuMicros(rounds: number, work: (round: number) => unknown): Promise<number> {
  const before = process.cpuUsage();
  for (let round = 0; round < rounds; round++) await work(round);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / rounds;
}

/**
 * Milliseconds of CPU that this thread has had. The kernel brings a thread's own count up to date only at its ticks, 4 ms apart: a turn of 1 ms would be one
 * of 4, or of none. It is exact for whoever has just asked for that of the whole process.
 */
export function threadCpuMs(): number {
  process.cpuUsage();
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

/** Resident megabytes of a process, as the kernel counts them (VmRSS). */
export function residentMb(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? Number.NaN) / 1024;
}

/** The value below which `share` of the sorted samples lie. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

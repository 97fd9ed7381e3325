// The options by which every policy command chooses its policy.
import type { Command } from 'commander';

export function fromWhere(command: Command): Command {
  return command
    .option('--policy <PATH>', 'use these files or folders instead of the policy in force; repeatable', collect, [])
    .option('--trust-domain <NAME>', 'with --policy: the trust domain of service names (that of the home, else local)');
}

export function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

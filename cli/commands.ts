// Every command there is, in the order in which help shows them. A file of cli/commands/ each.
import type { Command } from 'commander';
import type { CliContext } from './context.ts';

export interface CommandFile {
  /** Declares the command and its actions; runs nothing. */
  register(program: Command, context: CliContext): void;
}

export const commands: readonly { readonly name: string; readonly load: () => Promise<CommandFile> }[] = [
  { name: 'version', load: () => import('./commands/version.ts') },
];

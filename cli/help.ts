// Examples of commands, which help shows before anything else. Apart from the program, so that a sidecar need not load commander.
import type { Command } from 'commander';

const examplesOf = new WeakMap<Command, readonly string[]>();

/** Gives a command its examples. */
export function examples(command: Command, ...lines: readonly string[]): Command {
  examplesOf.set(command, lines);
  return command;
}

/** The examples of a command, for help and the reference documentation. */
export function examplesFor(command: Command): readonly string[] {
  return examplesOf.get(command) ?? [];
}

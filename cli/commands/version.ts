// `postern version`: which Postern, on which Node.
import type { Command } from 'commander';
import { readVersion } from '#base/version';
import type { CliContext } from '../context.ts';
import { examples } from '../help.ts';

export function register(program: Command, context: CliContext): void {
  const command = program
    .command('version')
    .description('print the version')
    .action(() => showVersion(context));
  examples(command, 'postern version', 'postern version -o json');
}

export function showVersion({ output }: CliContext): void {
  const version = readVersion();
  const { node, openssl } = process.versions;
  output.data(
    { postern: version, node, openssl, platform: `${process.platform}-${process.arch}` },
    `postern ${version} (node ${node}, ${process.platform}-${process.arch})`,
  );
}

// docs/cli.md from the commands themselves: what `--help` shows, and what the exit codes mean.
import type { Command } from 'commander';
import { createContext } from '../../../cli/context.ts';
import { exitCodes } from '../../../cli/exit-codes.ts';
import { createProgram } from '../../../cli/program.ts';

const meanings: Readonly<Record<string, string>> = {
  ok: 'done',
  failed: 'failed',
  usage: 'the command line, a setting or a settings file is wrong',
  denied: 'denied, or not healthy',
  notFound: 'there is no such thing',
  unreachable: 'the control plane cannot be reached',
};

export async function cliPage(): Promise<string> {
  const silent = { write: () => true, on: () => undefined };
  const { context } = createContext({ env: {}, stdout: silent, stderr: silent });
  const program = await createProgram({ context });
  const codes = Object.entries(exitCodes).map(([name, code]) => `| ${code} | ${meanings[name]} |`);
  return `# Command line

Results go to stdout, talk to stderr. \`-o json\` and \`-o yaml\` carry \`version\`; keys may be added, never renamed. Streams (\`audit tail\`) print one JSON
object a line.

Made by \`npm run docs\`; a test compares.

| Exit code | Meaning |
|---|---|
${codes.join('\n')}

${sectionOf(program)}${leavesOf(program).map(sectionOf).join('')}`;
}

function leavesOf(command: Command): Command[] {
  return command.commands.flatMap((each) => [each, ...leavesOf(each)]);
}

function sectionOf(command: Command): string {
  const names: string[] = [];
  for (let each: Command | null = command; each; each = each.parent) names.unshift(each.name());
  command.configureHelp({ ...command.configureHelp(), helpWidth: 110 });
  return `## ${names.join(' ')}\n\n\`\`\`text\n${command.helpInformation().trimEnd()}\n\`\`\`\n\n`;
}

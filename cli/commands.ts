// Every command there is, in the order in which help shows them. A file of cli/commands/ each.
import type { Command } from 'commander';
import type { CliContext } from './context.ts';

export interface CommandFile {
  /** Declares the command and its actions; runs nothing. */
  register(program: Command, context: CliContext): void;
}

export const commands: readonly { readonly name: string; readonly load: () => Promise<CommandFile> }[] = [
  { name: 'ca', load: () => import('./commands/ca.ts') },
  { name: 'server', load: () => import('./commands/server.ts') },
  { name: 'token', load: () => import('./commands/token.ts') },
  { name: 'sidecar', load: () => import('./commands/sidecar.ts') },
  { name: 'gateway', load: () => import('./commands/gateway.ts') },
  { name: 'apply', load: () => import('./commands/apply.ts') },
  { name: 'get', load: () => import('./commands/get.ts') },
  { name: 'delete', load: () => import('./commands/delete.ts') },
  { name: 'policy', load: () => import('./commands/policy.ts') },
  { name: 'audit', load: () => import('./commands/audit.ts') },
  { name: 'identity', load: () => import('./commands/identity.ts') },
  { name: 'describe', load: () => import('./commands/describe.ts') },
  { name: 'status', load: () => import('./commands/status.ts') },
  { name: 'route', load: () => import('./commands/route.ts') },
  { name: 'tap', load: () => import('./commands/tap.ts') },
  { name: 'analyze', load: () => import('./commands/analyze.ts') },
  { name: 'proxy', load: () => import('./commands/proxy.ts') },
  { name: 'check', load: () => import('./commands/check.ts') },
  { name: 'demo', load: () => import('./commands/demo.ts') },
  { name: 'completion', load: () => import('./commands/completion.ts') },
  { name: 'version', load: () => import('./commands/version.ts') },
];

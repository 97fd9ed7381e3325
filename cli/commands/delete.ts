// `postern delete`: takes one resource out of force.
import type { Command } from 'commander';
import { isPosternError } from '#base/error';
import type { ApplyReply, LocatedResource, ResourceKind } from '#wire';
import type { CliContext } from '../context.ts';
import { examples } from '../help.ts';
import { kinds, parseKind } from '../kinds.ts';
import { showChanges } from './apply.ts';
import { notFound } from './get.ts';

export function register(program: Command, context: CliContext): void {
  const command = program
    .command('delete')
    .description('delete one resource: a policy, a group or another kind')
    .argument('<KIND>', `one of: ${kinds.map((kind) => kind.toLowerCase()).join(', ')}`)
    .argument('<NAME>', 'which one')
    .action((kind: string, name: string) => runDelete(context, parseKind(kind), name));
  examples(command, 'postern delete policy payments-access');
}

async function runDelete(context: CliContext, kind: ResourceKind, name: string): Promise<void> {
  const reply = await context.withApi(async (api) => {
    try {
      return await api.call<ApplyReply>({
        method: 'DELETE',
        path: `/v1/resources/${kind}/${encodeURIComponent(name)}`,
      });
    } catch (thrown) {
      if (!isPosternError(thrown) || thrown.status !== 404) throw thrown;
      const { resources } = await api.call<{ resources: readonly LocatedResource[] }>({
        method: 'GET',
        path: `/v1/resources?kind=${kind}`,
      });
      throw notFound({ kind, name, names: resources.map(({ resource }) => resource.name) });
    }
  });
  await showChanges(context, reply);
}

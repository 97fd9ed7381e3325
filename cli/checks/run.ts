// Every health check in the order in which one rests on another.
import type { CaStatus } from '#wire';
import { withAuthority } from '../authority.ts';
import type { CliContext } from '../context.ts';
import { hasAuthority } from '../home.ts';
import type { CheckCategory } from './check.ts';
import { checkGatewayFile } from './gateway-file.ts';
import { checkAuthority, checkHome, checkMachine } from './local.ts';
import { checkAudit, checkProxies, checkServer } from './remote.ts';

export interface RunOptions {
  /** Only what can be checked before anything is set up. */
  readonly pre: boolean;
  /** Only this file of a gateway. */
  readonly gatewayFile: string | undefined;
}

/** Never throws for what a check finds. */
export async function runChecks(
  context: CliContext,
  { pre, gatewayFile }: RunOptions,
): Promise<readonly CheckCategory[]> {
  if (gatewayFile !== undefined) return [await checkGatewayFile(gatewayFile, context.clock.now())];
  const machine = await checkMachine({ pre });
  if (pre) return [machine];
  const home = await checkHome(context);
  const { category: server, status } = await checkServer(context);
  const now = context.clock.now();
  const readStatus = (): Promise<CaStatus> =>
    withAuthority<CaStatus>(context, {
      api: (api) => api.call({ method: 'GET', path: '/v1/ca' }),
      direct: (authority) => authority.status(),
    });
  const authority = status || hasAuthority(context.home()) ? [await checkAuthority(readStatus, now)] : [];
  const live = status ? [await checkProxies(status, now), await checkAudit(context)] : [];
  return [machine, home, ...authority, server, ...live];
}

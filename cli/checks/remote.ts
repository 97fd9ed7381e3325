// Checks that ask the control plane: reachable, its clock, its proxies, its records.
import { request } from 'node:https';
import { formatDuration } from '#base/duration';
import { connectTls, spiffeIdOf, tlsClientPolicy } from '#spiffe';
import type { EventReply, RecordReply, StatusReply, WitnessReply } from '#wire';
import { serverUrl } from '../api.ts';
import type { Api, CliContext } from '../context.ts';
import { readHomeBundle } from '../home.ts';
import { shortId } from '../names.ts';
import { ask, type Check, type CheckCategory, failure, warning } from './check.ts';

const skewWarningMs = 5_000;
/** SVIDs are backdated by this much: past it, new ones are not valid yet for a clock that is behind. */
const skewErrorMs = 30_000;

/** Reachability and clock; `status` is what the server said, when it did. */
export async function checkServer(context: CliContext): Promise<{ category: CheckCategory; status?: StatusReply }> {
  let url = '';
  let status: StatusReply | undefined;
  const checks: Check[] = [
    await ask('a server is known', () => {
      url = serverUrl(context);
      return undefined;
    }),
  ];
  if (url === '') return { category: { categoryName: 'control plane', checks } };
  checks.push(
    await ask(`${url} answers, and is who it must be`, async () => {
      status = await context.withApi((api) => api.call<StatusReply>({ method: 'GET', path: '/v1/status' }));
      return undefined;
    }),
  );
  if (status) {
    checks.push(
      await ask('its clock and this one agree', async () => {
        const skew = await clockSkew(context, url);
        if (Math.abs(skew) < skewWarningMs) return undefined;
        const words = `they differ by ${formatDuration(Math.abs(skew))}`;
        return Math.abs(skew) < skewErrorMs
          ? warning(words, 'synchronise both with NTP')
          : failure(words, 'synchronise both with NTP');
      }),
    );
  }
  return { category: { categoryName: 'control plane', checks }, ...(status ? { status } : {}) };
}

/** One check for each proxy. */
export async function checkProxies(
  { proxies, server: { trustDomain } }: StatusReply,
  now: number,
): Promise<CheckCategory> {
  const checks = await Promise.all(
    proxies
      .filter(({ sync }) => sync !== 'left')
      .map((proxy) =>
        ask(`${shortId(proxy.service, trustDomain)} ${proxy.instance} is in sync`, () => {
          if (proxy.sync === 'refused')
            return failure(
              `it refused revision ${proxy.wanted}: ${proxy.refusal ?? 'no reason given'}`,
              'the last good revision stays in force there',
            );
          if (proxy.sync === 'gone')
            return warning(
              `nothing was heard of it for ${formatDuration(now - proxy.lastReportAt)}`,
              'start it again; one that is gone for good leaves this list after its certificate has expired',
            );
          if (proxy.notAfter <= now)
            return failure('its certificate has expired', 'it must enrol again with a new token');
          if (proxy.sync === 'not-sent')
            return failure('it is not connected, so that changes cannot be sent to it', 'look at its log');
          return proxy.sync === 'stale'
            ? warning(
                `it holds revision ${proxy.revision} of ${proxy.wanted}`,
                'look again in a moment; then at its log',
              )
            : undefined;
        }),
      ),
  );
  if (checks.length === 0)
    checks.push(
      await ask('proxies have joined', () =>
        warning('there are none yet', 'postern token create SERVICE lets one join'),
      ),
    );
  return { categoryName: 'proxies', checks };
}

/** Whether decisions and events are kept and can be read. */
export async function checkAudit(context: CliContext): Promise<CheckCategory> {
  const read = (path: string) => async (api: Api) => {
    await api.call<RecordReply | EventReply>({ method: 'GET', path });
    return undefined;
  };
  const checks = [
    await ask('decision records can be read', () => context.withApi(read('/v1/records?limit=1'))),
    await ask('control-plane events can be read', () => context.withApi(read('/v1/events?limit=1'))),
    await ask('decision logs of proxies continue what was witnessed', () =>
      context.withApi(async (api) => {
        const { logs } = await api.call<WitnessReply>({ method: 'GET', path: '/v1/logs' });
        const [bad] = logs.filter(({ alarm }) => alarm !== undefined);
        return bad && failure(`${bad.instance}: ${bad.alarm}: ${bad.reason}`, 'postern audit logs; then docs/audit.md');
      }),
    ),
  ];
  return { categoryName: 'audit', checks };
}

/** This clock less the server's, in milliseconds, give or take the second that an HTTP date is exact to. */
async function clockSkew(context: CliContext, url: string): Promise<number> {
  const bundle = readHomeBundle(context.home());
  const now = (): number => context.clock.now();
  const expect = spiffeIdOf({ trustDomain: bundle.trustDomain, service: 'postern/server' });
  const date = await new Promise<string | undefined>((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const createConnection = () =>
      connectTls({ ...tlsClientPolicy({ bundle, now, expect }), host: hostname, port: Number(port), servername: '' });
    const asked = request(new URL('/livez', url), { createConnection, timeout: 5_000 }, (reply) => {
      reply.resume();
      resolve(reply.headers.date);
    });
    asked.on('timeout', () => asked.destroy(new Error('no answer within 5s')));
    asked.on('error', reject);
    asked.end();
  });
  const server = Date.parse(date ?? '');
  if (Number.isNaN(server)) return 0;
  const behind = now() - server;
  // The date was cut to its second.
  return behind >= 0 && behind < 1_500 ? 0 : behind;
}

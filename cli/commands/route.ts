// `postern route`: where a call would go and why, decided by the same code and the same configuration as the caller's proxy has. Nothing is called.
import type { Command } from 'commander';
import { foldPath } from '#base/canonical-path';
import type { CliContext } from '../context.ts';
import { fail } from '../errors.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { examples } from '../help.ts';
import { shortId } from '../names.ts';
import { readCircumstances, readHeaders, readMethod } from '../policy-request.ts';
import type { RouteAnswer, RouteQuestion } from '../route-answer.ts';
import type { RouteSource } from '../route-source.ts';
import { collect } from './policy/source-options.ts';

interface RouteOptions {
  readonly request: string;
  readonly header: readonly string[];
  readonly claims?: string;
  readonly address?: string;
  readonly time?: string;
  readonly file: readonly string[];
  readonly trustDomain?: string;
}

export function register(program: Command, context: CliContext): void {
  const command = program
    .command('route')
    .description('say where a call would go and why: policy, virtual service, route, cluster, endpoints')
    .argument('<FROM>', 'who calls: a service or a SPIFFE ID')
    .argument(
      '<URL>',
      'what is called: http://HOST[:PORT]/PATH, https:// at the edge of a gateway, or tcp://HOST:PORT, or tls://HOST:PORT',
    )
    .option('-X, --request <METHOD>', 'the method', 'GET')
    .option('-H, --header <NAME:VALUE>', 'a header of the request; repeatable', collect, [])
    .option('--claims <JSON>', 'the claims of a verified token, as a JSON object')
    .option('--address <IP>', 'where the called proxy sees the request come from')
    .option('--time <TIME>', 'when, as an RFC 3339 time')
    .option('-f, --file <PATH>', 'of these files or folders instead of the mesh that runs; repeatable', collect, [])
    .option('--trust-domain <NAME>', 'with -f: the trust domain of service names (that of the home, else local)')
    .action((from: string, url: string, options: RouteOptions) => runRoute(context, { from, url }, options));
  examples(
    command,
    'postern route checkout http://payments/charges/7',
    "postern route checkout http://payments/charges -X POST -H 'x-beta: 1' -o wide",
    'postern route checkout http://payments/charges -f mesh/   # before it is applied',
    'postern route batch tcp://ledger:5432',
    `postern route edge https://shop.example.com/orders/7 --claims '{"role":"clerk"}'   # a gateway's callers`,
  );
}

async function runRoute(
  context: CliContext,
  { from, url }: { readonly from: string; readonly url: string },
  options: RouteOptions,
): Promise<void> {
  const { output } = context;
  const { shown, ...circumstances } = await readCircumstances(options);
  const asked: RouteQuestion = {
    ...readUrl(url, readMethod(options.request)),
    headers: readHeaders(options.header),
    circumstances,
  };
  const [{ readRouteSource }, { answerRoute }, { routeText }, { loadModels }] = await Promise.all([
    import('../route-source.ts'),
    import('../route-answer.ts'),
    import('../route-view.ts'),
    import('#policy'),
  ]);
  const source = await readRouteSource(context, { ...options, from });
  const answer = answerRoute(source, asked, await loadModels(source.policy));
  const question = { from: source.from, url, method: asked.method, path: asked.path };
  const headers = Object.fromEntries(asked.headers);
  output.data(
    { question: { ...question, headers, ...shown }, ...plainAnswer(answer) },
    routeText({ source, asked, answer, output }),
  );
  if (asked.scheme === 'https')
    output.say(
      'as callers from outside come to the edge of a gateway: an application says http://, and its proxy encrypts',
    );
  suggestNext(context, { source, asked, answer });
  context.exitWith(codes[answer.outcome]);
}

const codes: Readonly<Record<RouteAnswer['outcome'], ExitCode>> = {
  forward: exitCodes.ok,
  respond: exitCodes.ok,
  redirect: exitCodes.ok,
  outside: exitCodes.ok,
  denied: exitCodes.denied,
  'sent-denied': exitCodes.denied,
  'not-callable': exitCodes.denied,
  'unknown-host': exitCodes.notFound,
  'no-route': exitCodes.notFound,
  'bad-rewrite': exitCodes.failed,
};

/** Throws `CLI_USAGE`. The path is folded as a proxy folds it, or refused as there. */
function readUrl(text: string, method: string): Omit<RouteQuestion, 'headers' | 'circumstances'> {
  const refuse = (problem: string, fix: string): never => {
    throw fail('CLI_USAGE', { problem, fix });
  };
  const [, scheme = 'http', named, rest = ''] = /^(?:([a-z]+):\/\/)?([^/?#]+)(.*)$/i.exec(text) ?? [];
  const protocol = scheme.toLowerCase();
  const isHttp = protocol === 'http' || protocol === 'https';
  if (!isHttp && protocol !== 'tcp' && protocol !== 'tls')
    return refuse(`${text} is no URL that can be routed`, 'write http://HOST/PATH, tcp://HOST:PORT or tls://HOST:PORT');
  const [, bracketed, name, digits] =
    /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?$/.exec(named ?? '') ?? [];
  const host = (bracketed ?? name ?? '').toLowerCase().replace(/\.$/, '');
  const port = digits === undefined ? usualPorts[protocol] : Number(digits);
  if (host === '' || port < 1 || port > 65_535)
    return refuse(`${named ?? text} is no host`, 'write HOST or HOST:PORT after http://');
  if (!isHttp) {
    if (rest !== '' && rest !== '/') refuse(`${protocol}:// has no path`, `write ${protocol}://${named}`);
    return { protocol, scheme: 'http', host, port, path: '/', query: '', method: 'CONNECT' };
  }
  const mark = rest.indexOf('?');
  const query = mark < 0 ? '' : rest.slice(mark);
  const raw = (mark < 0 ? rest : rest.slice(0, mark)) || '/';
  const path = foldPath(raw, (reason) =>
    refuse(`the path ${raw} is refused: ${reason}`, 'a proxy answers such a request with 400 before policy sees it'),
  );
  return { protocol: 'http', scheme: protocol, host, port, path, query, method };
}

const usualPorts = { http: 80, https: 443, tcp: 80, tls: 443 } as const;

/** Without what only code can use. */
function plainAnswer({ route, policy, targets, outcome, location, elsewhere, written }: RouteAnswer): object {
  const { virtualHost, routes, path, nearest, action } = route;
  return {
    outcome,
    policy,
    virtualService: virtualHost && { name: virtualHost.name, service: virtualHost.id, hosts: virtualHost.entry.hosts },
    nearest,
    elsewhere,
    routes,
    action: action && {
      kind: 'kind' in action ? action.kind : 'tunnel',
      route: action.route,
      ...('kind' in action && action.kind === 'forward'
        ? {
            timeoutMs: action.timeoutMs,
            attempts: action.retries.attempts,
            perTryTimeoutMs: action.retries.perTryTimeoutMs,
          }
        : {}),
      ...('kind' in action && action.kind !== 'forward' ? { status: action.status, location } : {}),
      written,
    },
    path,
    targets,
  };
}

function suggestNext(
  { output }: CliContext,
  o: { readonly source: RouteSource; readonly asked: RouteQuestion; readonly answer: RouteAnswer },
): void {
  const { source, asked, answer } = o;
  const from = shortId(source.from, source.trustDomain);
  const to = answer.route.virtualHost ? shortId(answer.route.virtualHost.id, source.trustDomain) : answer.elsewhere;
  if (to === undefined || !source.isLive) return;
  if (answer.outcome === 'denied' || answer.outcome === 'not-callable')
    output.next(`postern policy who-can ${asked.method} ${asked.path} ${to}`, 'who may');
  else if (answer.outcome === 'forward')
    output.next(`postern tap --from ${from} --to ${to}`, 'see calls as they happen');
}

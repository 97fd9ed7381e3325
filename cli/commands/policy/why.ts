// `postern policy why`: whether a call is allowed, which rule decides, and what came near.
import type { Command } from 'commander';
import type { Explanation, Question } from '#policy';
import type { CliContext } from '../../context.ts';
import { exitCodes } from '../../exit-codes.ts';
import { examples } from '../../help.ts';
import {
  type CircumstanceWords,
  idOf,
  readCircumstances,
  readHeaders,
  readMethod,
  readPath,
  readPort,
} from '../../policy-request.ts';
import { type PolicySource, readPolicy } from '../../policy-source.ts';
import { verdictLines } from '../../policy-verdict.ts';
import { collect, fromWhere } from './source-options.ts';

type WhyOptions = PolicySource & { readonly header: readonly string[]; readonly port?: string } & CircumstanceWords;

export function registerWhy(policy: Command, context: CliContext): void {
  const why = fromWhere(policy.command('why'))
    .description('say whether a call is allowed, and which rule decides')
    .argument('<FROM>', 'who calls: a service or a SPIFFE ID')
    .argument('<TO>', 'the service that is called')
    .argument('<METHOD>', 'such as GET')
    .argument('<PATH>', 'such as /charges/7')
    .option('--header <NAME:VALUE>', 'a header of the request; repeatable', collect, [])
    .option('--port <N>', 'the app port that is called')
    .option('--claims <JSON>', 'the claims of a verified token, as a JSON object')
    .option('--address <IP>', 'where the request comes from')
    .option('--time <TIME>', 'when, as an RFC 3339 time')
    .action((from: string, to: string, method: string, path: string, options: WhyOptions) =>
      runWhy(context, { from, to, method, path }, options),
    );
  examples(
    why,
    'postern policy why checkout payments POST /charges',
    'postern policy why web payments GET /reports/7 --header x-env:prod --port 8080 --policy policies/',
  );
}

async function runWhy(
  context: CliContext,
  asked: { readonly from: string; readonly to: string; readonly method: string; readonly path: string },
  options: WhyOptions,
): Promise<void> {
  const { explain, loadModels } = await import('#policy');
  const headers = readHeaders(options.header);
  const [method, path, port] = [readMethod(asked.method), await readPath(asked.path), readPort(options.port)];
  const { shown: more, ...circumstances } = await readCircumstances(options);
  const { set, trustDomain } = await readPolicy(context, options);
  const question: Question = {
    from: idOf(asked.from, trustDomain),
    to: idOf(asked.to, trustDomain),
    method,
    path,
    ...(port === undefined ? {} : { port }),
    headers: (name) => headers.get(name) ?? [],
    ...circumstances,
  };
  const explanation = explain(set, question, await loadModels(set));
  const shown = {
    from: question.from,
    to: question.to,
    method,
    path,
    port,
    headers: Object.fromEntries(headers),
    ...more,
  };
  context.output.data({ question: shown, ...explanation }, explanationText(context, explanation, question));
  if (explanation.decision.effect === 'deny') context.exitWith(exitCodes.denied);
}

function explanationText({ output }: CliContext, explanation: Explanation, question: Question): string {
  const [verdict, ...more] = verdictLines(explanation, output.paint);
  const call = `  ${question.from} -> ${question.to}   ${question.method} ${question.path}`;
  return [verdict, call, ...more].join('\n');
}

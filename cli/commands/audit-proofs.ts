// `postern audit verify, prove, verify-receipt, mask, logs`: whether what was recorded is what is there, and how to show it to somebody else.
// All but `logs` work on folders and files alone, without a server.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { Comparison, LogVerdict, NoteKey } from '#audit';
import { messageOf } from '#base/error';
import { writeFileAtomic } from '#base/files';
import type { MaskReply, RecordReply, WitnessedLog, WitnessReply } from '#wire';
import { fieldTable, logColumns, logRow } from '../audit-view.ts';
import type { CliContext } from '../context.ts';
import { fail } from '../errors.ts';
import { exitCodes } from '../exit-codes.ts';
import { examples } from '../help.ts';
import { timeOf } from '../when.ts';

interface VerifyOptions {
  readonly against?: string;
  readonly key?: string;
  readonly received?: boolean;
}

export function registerProofs(audit: Command, context: CliContext): void {
  const verify = audit
    .command('verify [DIR]')
    .description('check decision logs on this disk against their signatures; exit 1 when anything was changed')
    .option('--against <CHECKPOINT>', 'a checkpoint kept elsewhere that the log must still contain')
    .option('--key <KEY>', 'the key that must have signed it, as postern audit logs shows it')
    .option('--received', 'and compare every record that the control plane has received with its entry')
    .action((folder: string | undefined, options: VerifyOptions) => verifyLogs(context, folder, options));
  examples(
    verify,
    'postern audit verify',
    'postern audit verify /var/lib/postern',
    'postern audit verify /var/lib/postern --received',
    'postern audit logs --checkpoint INSTANCE > kept && postern audit verify --against kept',
  );
  const prove = audit
    .command('prove <ID> [DIR]')
    .description('a receipt that a decision was recorded, which anybody can check with the key of the log')
    .option('--out <FILE>', 'write it there (.tlog-proof) instead of printing it')
    .action((id: string, folder: string | undefined, options: { out?: string }) =>
      proveRecord(context, { id, folder, ...options }),
    );
  examples(prove, 'postern audit prove 0f3c2a9d51b8 --out charge.tlog-proof');
  const receipt = audit
    .command('verify-receipt <FILE>')
    .description('check a receipt with nothing but the key of the log; exit 1 when it is not good')
    .requiredOption('--key <KEY>', 'the key of the log, as postern audit logs shows it')
    .option('--witness <KEY>', 'the key of the witness, which must have cosigned it')
    .action((file: string, options: { key: string; witness?: string }) => verifyReceipt(context, file, options));
  examples(receipt, 'postern audit verify-receipt charge.tlog-proof --key "example.org/payments/i-1+2f9c…+AY…"');
  const mask = audit
    .command('mask [DIR]')
    .description('erase recorded values for good; proofs stay valid')
    .requiredOption('--field <FIELDS>', 'which: endpoint, host, path, peer, remote, traceId, with commas between')
    .option('--before <TIME>', 'of records before then: 30d, or an RFC 3339 time')
    .option('--id <ID>', 'of one decision')
    .option('--stopped', 'the process that writes the log is stopped: its newest records too')
    .option('--received', 'not in logs here but in what the control plane keeps')
    .action((folder: string | undefined, options: MaskOptions) => maskValues(context, folder, options));
  examples(
    mask,
    'postern audit mask --field path,remote --before 30d',
    'postern audit mask --field path --id 0f3c2a9d51b8',
    'postern audit mask --received --field path,remote --before 30d',
  );
  const logs = audit
    .command('logs')
    .description('decision logs as the control plane has witnessed them, with their keys')
    .option('--checkpoint <INSTANCE>', "print that instance's newest checkpoint, cosigned")
    .option('--acknowledge <INSTANCE>', 'you have looked at its alarm: forget it, and what was witnessed before')
    .action((options: { checkpoint?: string; acknowledge?: string }) => showLogs(context, options));
  examples(logs, 'postern audit logs', 'postern audit logs --checkpoint INSTANCE > kept');
}

async function verifyLogs(context: CliContext, folder: string | undefined, options: VerifyOptions): Promise<void> {
  const { output } = context;
  const { findLogs, keyBeside, verifyLog } = await import('#audit');
  const given = options.key === undefined ? undefined : await keyOf(options.key, '--key');
  const against = options.against === undefined ? undefined : readText(options.against);
  const folders = findLogs(folder === undefined ? context.home() : resolve(folder));
  if (folders.length === 0)
    throw fail('CLI_NOT_FOUND', {
      what: 'log in',
      name: folder ?? context.home(),
      fix: 'name the home of a sidecar or of a control plane, or one log',
    });
  const origin = against?.split('\n', 1)[0];
  const verdicts = folders.flatMap((path): LogVerdict[] => {
    const key = given ?? keyBeside(path);
    if (!key) return [keyless(path)];
    const isMeant = folders.length === 1 || key.name === (given?.name ?? origin ?? key.name);
    return isMeant ? [verifyLog({ folder: path, key, against })] : [];
  });
  if (verdicts.length === 0)
    throw fail('CLI_NOT_FOUND', {
      what: 'log called',
      name: given?.name ?? origin ?? '',
      fix: 'see: postern audit logs',
    });
  const received = options.received ? await compareReceived(context, verdicts) : undefined;
  const isWhole =
    verdicts.every(({ faults }) => faults.length === 0) &&
    (received ?? []).every(({ different }) => different.length === 0);
  output.data(
    { whole: isWhole, logs: verdicts, ...(received ? { received } : {}) },
    [...verdicts.map((verdict) => describe(verdict, output.paint)), ...(received ?? []).map(describeReceived)].join(
      '\n',
    ),
  );
  if (!isWhole) context.exitWith(exitCodes.failed);
  else if (!given)
    output.hint(
      'the keys that lie beside the logs were used: --key KEY from postern audit logs also finds a replaced key',
    );
}

/** Every record that the control plane has, beside the entry of the log that it says it is. */
async function compareReceived(context: CliContext, verdicts: readonly LogVerdict[]): Promise<Comparison[]> {
  const { createComparer } = await import('#audit');
  const comparers = verdicts.flatMap(({ folder }) => createComparer(folder) ?? []);
  await context.withApi(async (api) => {
    for (let after = 0; ; ) {
      const reply = await api.call<RecordReply>({ method: 'GET', path: `/v1/records?after=${after}&limit=10000` });
      for (const record of reply.records) for (const comparer of comparers) comparer.add(record);
      if (!reply.more || reply.next === undefined) return;
      after = reply.next;
    }
  });
  return comparers.map(({ result }) => result);
}

function describeReceived({ instance, same, masked, pruned, different }: Comparison): string {
  const more = [
    ...(masked > 0 ? [`${masked} with erased values`] : []),
    ...(pruned > 0 ? [`${pruned} that the log no longer keeps`] : []),
  ];
  const text = `received from ${instance}: ${same} are as in the log${more.length > 0 ? `, ${more.join(', ')}` : ''}`;
  return [text, ...different.map(({ id, seq, what }) => `  record ${seq} (${id}): ${what}`)].join('\n');
}

/** Nothing was signed yet, or the key is gone: in both cases nothing can be said for the log. */
function keyless(folder: string): LogVerdict {
  const nothing = { origin: undefined, size: 0, checked: 0, unsigned: 0, masked: 0 };
  return { folder, ...nothing, faults: [{ what: 'it has no checkpoint, or no key beside it: give one with --key' }] };
}

function describe(verdict: LogVerdict, paint: CliContext['output']['paint']): string {
  const { folder, origin, size, checked, unsigned, masked, faults } = verdict;
  const [first, ...more] = faults;
  const place = (fault: typeof first): string =>
    fault?.index === undefined
      ? ''
      : `record ${fault.index}${fault.seq === undefined ? '' : ` (sequence ${fault.seq})`}: `;
  const counts = [
    `${size} signed`,
    `${checked} checked`,
    ...(unsigned > 0 ? [`${unsigned} not signed yet`] : []),
    ...(masked > 0 ? [`${masked} values erased`] : []),
  ];
  const head = `${first ? paint('bad', '×') : paint('good', '√')} ${origin ?? folder}: ${counts.join(', ')}`;
  const lines = first
    ? [`    ${place(first)}${first.what}`, ...more.slice(0, 9).map((fault) => `    ${place(fault)}${fault.what}`)]
    : [];
  const rest = more.length > 9 ? [`    and ${more.length - 9} more`] : [];
  return [head, `    ${folder}`, ...lines, ...rest].join('\n');
}

async function proveRecord(
  context: CliContext,
  o: { id: string; folder: string | undefined; out?: string },
): Promise<void> {
  const { output } = context;
  const { findLogs, findRecord, keyBeside, formatVerifierKey, receiptOf } = await import('#audit');
  for (const folder of findLogs(o.folder === undefined ? context.home() : resolve(o.folder))) {
    const found = findRecord(folder, o.id);
    if (!found) continue;
    const receipt = receiptOf(found);
    if (receipt === undefined)
      throw fail('CLI_NOT_FOUND', {
        what: 'checkpoint yet that holds',
        name: o.id,
        fix: 'try again in a second: checkpoints are signed once a second',
      });
    if (o.out === undefined) output.raw(receipt);
    else writeFileAtomic(resolve(o.out), receipt, 0o644);
    const key = keyBeside(folder);
    output.next(
      `postern audit verify-receipt ${o.out ?? 'FILE'} --key "${key ? formatVerifierKey(key) : 'KEY'}"`,
      'anybody can',
    );
    return;
  }
  throw fail('CLI_NOT_FOUND', {
    what: 'decision on this disk',
    name: o.id,
    fix: 'run it on the host of the proxy that made the decision, or name its home',
  });
}

async function verifyReceipt(
  context: CliContext,
  file: string,
  options: { key: string; witness?: string },
): Promise<void> {
  const { output } = context;
  const { checkReceipt } = await import('#audit');
  const key = await keyOf(options.key, '--key');
  const witness = options.witness === undefined ? undefined : await keyOf(options.witness, '--witness');
  const verdict = checkReceipt(readText(file), { key, witness });
  if (!verdict.good) {
    output.data(verdict, `${output.paint('bad', '×')} ${file} is not good: ${verdict.why}\n`);
    return context.exitWith(exitCodes.failed);
  }
  const { index, origin, size, hidden, record, cosignedAt } = verdict;
  output.data(verdict, fieldTable(record));
  const time = cosignedAt === undefined ? '' : `, witnessed ${new Date(cosignedAt * 1_000).toISOString()}`;
  output.say(`${file} is good: this is record ${index} of the ${size} in ${origin}${time}`);
  if (hidden.length > 0) output.say(`not shown, or erased: ${hidden.join(', ')}`);
}

interface MaskOptions {
  readonly field: string;
  readonly before?: string;
  readonly id?: string;
  readonly stopped?: boolean;
  readonly received?: boolean;
}

async function maskValues(context: CliContext, folder: string | undefined, options: MaskOptions): Promise<void> {
  const { output, clock } = context;
  const { findLogs, maskLog, maskableFields } = await import('#audit');
  const fields = options.field.split(',');
  const wrong = fields.find((field) => !(maskableFields as readonly string[]).includes(field));
  if (wrong !== undefined)
    throw fail('CLI_USAGE', {
      problem: `--field ${wrong} is not maskable`,
      fix: `fields are ${maskableFields.join(', ')}`,
    });
  if (options.before === undefined && options.id === undefined)
    throw fail('CLI_USAGE', { problem: 'whose values?', fix: 'say --before TIME, or --id ID' });
  const before = options.before === undefined ? undefined : timeOf(options.before, '--before', clock.now());
  if (options.received) {
    const body = {
      fields,
      ...(before === undefined ? {} : { before }),
      ...(options.id === undefined ? {} : { id: options.id }),
    };
    const { erased } = await context.withApi((api) =>
      api.call<MaskReply>({ method: 'POST', path: '/v1/records/mask', body }),
    );
    return output.data({ erased }, `${erased} values erased\n`);
  }
  const done = { erased: 0, left: 0 };
  for (const path of findLogs(folder === undefined ? context.home() : resolve(folder))) {
    const { erased, left } = maskLog({
      ...{ folder: path, fields: fields as (typeof maskableFields)[number][], isStopped: options.stopped === true },
      ...{ before, id: options.id },
    });
    done.erased += erased;
    done.left += left;
  }
  output.data(done, `${done.erased} values erased\n`);
  if (done.left > 0)
    output.hint(
      `${done.left} records are in files that are still being written: stop the process and add --stopped, or run it later`,
    );
}

async function showLogs(context: CliContext, options: { checkpoint?: string; acknowledge?: string }): Promise<void> {
  const { output, clock } = context;
  await context.withApi(async (api) => {
    if (options.acknowledge !== undefined) {
      await api.call({ method: 'POST', path: '/v1/logs/acknowledge', body: { instance: options.acknowledge } });
      return output.say(`the log of ${options.acknowledge} is witnessed from its next checkpoint on`);
    }
    const reply = await api.call<WitnessReply>({ method: 'GET', path: '/v1/logs' });
    if (options.checkpoint === undefined) {
      output.data(reply, {
        columns: logColumns,
        rows: reply.logs.map((log) => logRow(log, { trustDomain: api.trustDomain, now: clock.now() })),
        empty: 'no log has been witnessed yet',
      });
      return output.say(`witness: ${reply.witness}`);
    }
    const found = reply.logs.find(({ instance }: WitnessedLog) => instance === options.checkpoint);
    if (!found)
      throw fail('CLI_NOT_FOUND', {
        what: 'witnessed log of',
        name: options.checkpoint,
        fix: 'see: postern audit logs',
      });
    output.raw(found.checkpoint);
  });
}

async function keyOf(text: string, option: string): Promise<NoteKey> {
  const { parseVerifierKey } = await import('#audit');
  const key = parseVerifierKey(text);
  if (key) return key;
  throw fail('CLI_USAGE', {
    problem: `${option} is not a verifier key`,
    fix: 'it looks like example.org/payments/INSTANCE+0a1b2c3d+AY...: see postern audit logs',
  });
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (thrown) {
    throw fail('CLI_NOT_FOUND', { what: 'readable file', name: path, fix: messageOf(thrown) });
  }
}

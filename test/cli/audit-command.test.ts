// `postern audit`: what is asked of the control plane, and how the answer reads.
import { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import type { ControlEvent, DecisionRecord } from '#wire';
import { register } from '../../cli/commands/audit.ts';
import { type CliContext, createContext } from '../../cli/context.ts';
import { createClock } from '../helpers/clock.ts';
import { sentRecord } from '../helpers/record.ts';

const denied = sentRecord(2, {
  id: 'd-denied',
  decision: 'deny',
  reason: 'default-deny',
  rule: undefined,
  status: 403,
  path: '/a\u001b[31m\nb',
} as unknown as Partial<DecisionRecord>);
const gap = sentRecord(3, { kind: 'gap', decision: 'error', reason: 'AUDIT_QUEUE_FULL', lost: 5, lostFrom: 3 });
const event: ControlEvent = {
  v: 1,
  seq: 1,
  time: '2026-01-01T00:00:00.000Z',
  action: 'enrol',
  outcome: 'refused',
  actor: 'unauthenticated',
  reason: 'TOKEN_USED',
};

interface Answers {
  readonly records?: readonly DecisionRecord[];
  readonly events?: readonly ControlEvent[];
  readonly stream?: readonly unknown[];
  readonly more?: boolean;
}

async function run(words: string, answers: Answers = {}) {
  const asked: string[] = [];
  let out = '';
  let err = '';
  const sink = (write: (text: string) => void) => ({
    write: (text: string | Uint8Array) => write(String(text)),
    on: () => undefined,
  });
  const control = createContext({
    env: {},
    clock: createClock(),
    stdout: sink((text) => {
      out += text;
    }),
    stderr: sink((text) => {
      err += text;
    }),
  });
  const args = words.match(/"[^"]*"|\S+/g)!.map((word) => word.replaceAll('"', ''));
  const json = args.indexOf('-o');
  await control.configure(json < 0 ? {} : { output: args[json + 1] as 'json' });
  if (json >= 0) args.splice(json, 2);
  const api = {
    url: 'https://127.0.0.1:8443',
    trustDomain: 'example.org',
    async call({ path }: { path: string }) {
      asked.push(path);
      const more = answers.more ?? false;
      return path.startsWith('/v1/events')
        ? { events: answers.events ?? [], more }
        : { records: answers.records ?? [], more };
    },
    async *stream({ path }: { path: string }) {
      asked.push(path);
      yield* answers.stream ?? [];
    },
  };
  const context = Object.create(control.context, {
    withApi: { value: (work: (given: typeof api) => Promise<unknown>) => work(api) },
  }) as CliContext;
  const program = new Command().exitOverride();
  register(program, context);
  await program.parseAsync(['audit', ...args], { from: 'user' });
  const [path = '', parameters = ''] = (asked[0] ?? '').split('?');
  return { out, err, path, query: Object.fromEntries(new URLSearchParams(parameters)) };
}

const start = Date.UTC(2026, 0, 1);

describe('what is asked', () => {
  test.each<[string, Record<string, string>]>([
    ['query', {}],
    ['query --since 10m', { since: String(start - 600_000) }],
    [
      'query --since 2025-12-31T00:00:00Z --until 1h',
      { since: String(start - 86_400_000), until: String(start - 3_600_000) },
    ],
    [
      'query --peer checkout --service shop/payments',
      { peer: 'spiffe://example.org/checkout', service: 'spiffe://example.org/shop/payments' },
    ],
    ['query --peer spiffe://other.org/x', { peer: 'spiffe://other.org/x' }],
    ['query --peer shop/*', { peer: 'spiffe://example.org/shop/*' }],
    ['query --peer *', { peer: '*' }],
    ['query --cluster payments/v2 --trace abc --wide', { cluster: 'payments/v2', trace: 'abc' }],
    [
      'query --decision deny --rule p/r --path /a* --hop inbound --reason default-deny --id x --limit 5',
      { decision: 'deny', rule: 'p/r', path: '/a*', hop: 'inbound', reason: 'default-deny', id: 'x', limit: '5' },
    ],
  ])('%s', async (words, expected) => {
    const { path, query } = await run(words, { records: [sentRecord(1)] });
    expect(path).toBe('/v1/records');
    expect(query).toEqual(expected);
  });

  test('--events asks for events, with actor and subject as services or as they are', async () => {
    const { path, query } = await run('query --events --action enrol --peer unauthenticated --service web');
    expect(path).toBe('/v1/events');
    expect(query).toEqual({ action: 'enrol', peer: 'unauthenticated', service: 'spiffe://example.org/web' });
  });

  test.each([
    ['query --since yesterday', 'not a time'],
    ['query --since 1h --until 2h', 'later than'],
    ['query --events --decision deny', 'does not go with --events'],
    ['query --events --wide', 'does not go with --events'],
    ['query --top rules --wide', 'does not go with --top'],
    ['query --action enrol', 'goes with --events'],
    ['query --limit 0', '1 to 10000'],
    ['query --decision maybe', 'choices'],
  ])('%s is refused before anything is asked', async (words, message) => {
    await expect(run(words)).rejects.toThrow(message);
  });
});

describe('how it reads', () => {
  test('a table with short names, nothing that moves the cursor, and how to see more of a refusal', async () => {
    const { out, err } = await run('query', { records: [sentRecord(1), denied, gap] });
    const [head, allowed, refused, lost] = out.split('\n');
    expect(head).toMatch(/^TIME +HOP +PEER → SERVICE +METHOD +PATH +DECISION +STATUS +RULE +ID$/);
    expect(allowed).toMatch(
      /inbound +checkout → payments +POST +\/charges +allow +200 +payments-access\/checkout-charges +d-1$/,
    );
    expect(refused).toContain('(default-deny)');
    expect(refused).toContain('/a\\u001b[31m\\nb');
    expect(refused).toMatch(/d-denied$/);
    expect(lost).toContain('5 records lost from 3 (AUDIT_QUEUE_FULL)');
    expect(err).toContain('postern audit query --id d-denied -o json');
  });

  test('--wide also shows where the route led, in query and tail alike', async () => {
    const routed = sentRecord(1, {
      ...{ virtualService: 'payments', route: 'beta', cluster: 'payments/v2', endpoint: '10.0.0.1:15008', tries: 3 },
      ...{ fault: 'delay', ms: 12.34, traceId: 'a'.repeat(32) },
    });
    const shown = ['payments#beta (delay)', 'payments/v2', '10.0.0.1:15008', '3', '12.3', 'a'.repeat(32)];
    const query = await run('query --wide', { records: [routed, denied] });
    const tail = await run('tail --wide', { stream: [routed] });
    for (const word of shown) for (const { out } of [query, tail]) expect(out).toContain(word);
    expect((await run('query', { records: [routed] })).out).not.toContain('payments/v2');
  });

  test('JSON is the records as they were kept', async () => {
    const { out, err } = await run('query -o json', { records: [denied], more: true });
    expect(JSON.parse(out)).toEqual({ version: 1, records: [JSON.parse(JSON.stringify(denied))], more: true });
    expect(err).toBe('');
  });

  test('one decision by its id shows every field; an unknown id is not found', async () => {
    const { out } = await run('query --id d-1', { records: [sentRecord(1)] });
    expect(out).toMatch(/peer +spiffe:\/\/example.org\/checkout/);
    await expect(run('query --id nope')).rejects.toMatchObject({ code: 'CLI_NOT_FOUND', status: 404 });
  });

  test('nothing found is said on stderr, and JSON has an empty list', async () => {
    expect(await run('query')).toMatchObject({ out: '', err: 'no decision matches\n' });
    expect(JSON.parse((await run('query -o json')).out)).toEqual({ version: 1, records: [], more: false });
  });

  test('events are a table too', async () => {
    const { out } = await run('query --events', { events: [event] });
    expect(out).toMatch(/enrol +refused +unauthenticated +- +TOKEN_USED/);
  });

  test('tail prints one JSON object a line, filtered, and skips what only keeps the stream alive', async () => {
    const stream = [{ type: 'ping' }, sentRecord(1), denied];
    const { out, path } = await run('tail --decision deny -o json', { stream });
    expect(path).toBe('/v1/records/tail');
    expect(
      out
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line).id),
    ).toEqual(['d-denied']);
  });

  test('tail prints one line a decision for people', async () => {
    const { out } = await run('tail', { stream: [sentRecord(1), denied] });
    expect(out.trimEnd().split('\n')).toHaveLength(2);
  });
});

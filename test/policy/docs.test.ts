// docs/policy.md and the examples are true.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { loadResources, parseResources } from '#config/resources';
import { buildPolicySet, compileProgram, validateResources } from '#policy';
import { createCasbin } from '#policy/casbin';
import { ask, idOf, trustDomain } from '../helpers/policy.ts';

const page = readFileSync(new URL('../../docs/policy.md', import.meta.url), 'utf8');
const yaml = [...page.matchAll(/```yaml\n(kind: Policy\n.*?)```/gs)].map(([, block]) => block!).join('---\n');
const table = [...page.matchAll(/^\| (.*) \|$/gm)].map(([, row]) => row!.split('|').map((cell) => cell.trim()));
const rows = table.filter((cells) => cells.length === 7 && /^(allow|deny) /.test(cells[6]!));

describe('docs/policy.md', () => {
  const { resources, problems } = parseResources(yaml, 'docs/policy.md');
  const set = buildPolicySet({ resources, trustDomain, revision: 1 });
  const program = compileProgram(set);

  test('its policy has no problem and its table has every row', () => {
    expect([...problems, ...validateResources(resources)]).toEqual([]);
    expect(rows).toHaveLength(14);
  });

  test.each(rows)('%s to %s %s %s, port %j, %j: %s', async (from, to, method, path, port, given, expected) => {
    const headers: Record<string, string[]> = {};
    for (const header of given!.split(';').filter((text) => text.trim() !== '')) {
      const [name, value] = header.split(':').map((text) => text.trim());
      headers[name!] = [...(headers[name!] ?? []), value!];
    }
    const question = ask({
      from: idOf(from!),
      to: idOf(to!),
      method: method!,
      path: path!,
      headers,
      ...(port ? { port: Number(port) } : {}),
    });
    const { effect, reason, rule } = program.decide(question);
    expect(`${effect} ${rule ?? reason}`).toBe(expected);
    expect((await createCasbin(set)).decide(question)).toBe(effect);
  });
});

test('the examples have no problem', () => {
  const { resources, problems } = loadResources([new URL('../../examples/policies', import.meta.url).pathname]);
  expect([...problems, ...validateResources(resources)]).toEqual([]);
  expect(resources).toHaveLength(6);
});

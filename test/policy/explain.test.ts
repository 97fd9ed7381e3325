// Why a decision is what it is, in words.
import { expect, test } from 'vitest';
import { createScope, explain } from '#policy';
import { parseSpiffeId } from '#spiffe';
import { ask, idOf, rawRule, setOf } from '../helpers/policy.ts';

test('the deciding rule has its source, and every other match is listed, shadow rules too', () => {
  const source = { file: 'p.yaml', line: 3, column: 5 };
  const rules = [
    rawRule({ id: 'a', effect: 'allow', source }),
    rawRule({ id: 's', effect: 'allow', shadow: true }),
    rawRule({ id: 'd', effect: 'deny', source: { ...source, line: 9 } }),
  ];
  expect(explain({ revision: 2, rules, groups: {} }, ask())).toEqual({
    decision: { effect: 'deny', reason: 'denied-by-rule', rule: 'p/d', matched: ['p/a'], shadow: ['p/s'], revision: 2 },
    rule: { rule: 'p/d', effect: 'deny', shadow: false, source: { ...source, line: 9 } },
    matched: [
      { rule: 'p/a', effect: 'allow', shadow: false, source },
      { rule: 'p/s', effect: 'allow', shadow: true },
    ],
    nearest: [],
  });
});

test('a default deny names the allow rules that missed by one thing, and what that was', () => {
  const rule = { effect: 'allow' as const, from: ['web'], methods: ['GET'], paths: ['/a/{id}'], ports: [80] };
  const when = [{ key: 'header:x-env', in: ['prod', 'stage'] }];
  const set = setOf(
    [
      { ...rule, id: 'from', from: ['checkout', 'group:g'] },
      { ...rule, id: 'method', methods: ['POST'] },
      { ...rule, id: 'path', paths: ['/b', '/c/**'] },
      { ...rule, id: 'port', ports: [81, 82] },
      { ...rule, id: 'header', when },
      { ...rule, id: 'two', methods: ['POST'], paths: ['/b'] },
      { ...rule, id: 'denied', effect: 'deny', methods: ['POST'] },
    ],
    { groups: { g: ['ledger'] } },
  );
  const { decision, nearest } = explain(set, ask({ path: '/a/7', port: 80, headers: { 'x-env': ['dev'] } }));
  expect(decision.reason).toBe('default-deny');
  expect(nearest.map(({ rule: name, missed, reason }) => [name, missed, reason])).toEqual([
    ['p/from', 'from', `${idOf('web')} is not among ${idOf('checkout')}, group:g`],
    ['p/method', 'methods', 'GET is not among POST'],
    ['p/path', 'paths', '/a/7 does not match /b, /c/**'],
    ['p/port', 'ports', 'port 80 is not among 81, 82'],
    ['p/header', 'when', 'header x-env is dev; the rule wants one of prod, stage'],
  ]);
  const unknown = explain(set, ask({ path: '/a/7', headers: { 'x-env': ['prod'] } })).nearest;
  expect(unknown.find(({ rule: name }) => name === 'p/header')).toMatchObject({
    missed: 'ports',
    reason: 'the port is not known; the rule wants 80',
  });
});

test('at most ten near rules are named', () => {
  const set = setOf(
    Array.from({ length: 30 }, (_, index) => ({ id: `r${index}`, effect: 'allow' as const, paths: [`/x${index}`] })),
  );
  expect(explain(set, ask()).nearest).toHaveLength(10);
});

test('a scoped set has the rules that a service needs as callee or as caller, and the groups of those', () => {
  const to = (service: string) => [idOf(service)];
  const rules = [
    rawRule({ id: 'callee', effect: 'allow', to: to('web'), from: ['group:ops'] }),
    rawRule({ id: 'caller', effect: 'allow', to: to('payments'), from: [idOf('web')] }),
    rawRule({ id: 'caller-by-group', effect: 'deny', to: to('payments'), from: ['group:front'] }),
    rawRule({ id: 'caller-by-prefix', effect: 'allow', to: to('payments'), from: ['spiffe://example.org/**'] }),
    rawRule({ id: 'anyone', effect: 'allow', to: to('ledger'), from: ['*'] }),
    rawRule({ id: 'callee-by-prefix', effect: 'deny', to: ['spiffe://example.org/**'], from: to('x') }),
    rawRule({ id: 'other', effect: 'allow', to: to('ledger'), from: ['group:unneeded', idOf('web2'), idOf('web/x')] }),
  ];
  const groups = { ops: to('console'), front: to('web'), unneeded: to('y') };
  const scoped = createScope({ revision: 5, rules, groups })(parseSpiffeId(idOf('web')));
  expect(scoped.rules.map(({ id }) => id)).toEqual([
    'callee',
    'caller',
    'caller-by-group',
    'caller-by-prefix',
    'anyone',
    'callee-by-prefix',
  ]);
  expect(Object.keys(scoped.groups)).toEqual(['front', 'ops']);
  expect(scoped.revision).toBe(5);
});

import { describe, expect, test } from 'vitest';
import { compileProgram, type Program } from '#policy';
import { parseAuthority } from '../../proxy/authority.ts';
import { authorize } from '../../proxy/authorize.ts';
import { Peer } from '../../proxy/identity.ts';
import { canonicalHead } from '../../proxy/request-head.ts';
import { allow, idOf } from '../helpers/mesh.ts';
import { createTestPki } from '../helpers/pki.ts';

const from = Peer.local(createTestPki().identity(idOf('web')));
const to = idOf('payments');
const facts = { address: '127.0.0.1', time: 0, token: 'missing' as const };
const headOf = (fields: readonly string[]) =>
  canonicalHead(
    { method: 'GET', target: '/x', host: 'payments', fields, length: 0, expectsContinue: false, tunnel: undefined },
    { parseAuthority },
  );

describe('whatever goes wrong is a denial', () => {
  test('Z3: a program that throws denies with policy-error', () => {
    const broken: Program = {
      revision: 7,
      decide: () => {
        throw new TypeError('undefined is not a function');
      },
      forPeer: () => broken,
      asksToken: () => false,
    };
    const verdict = authorize({ program: broken, from, to, port: 80, head: headOf([]), facts });
    expect(verdict).toMatchObject({
      isPermit: false,
      decision: { effect: 'deny', reason: 'policy-error', revision: 7 },
    });
  });

  test('H29, 18, 19: a rule on a header sees every value, whatever the spelling of its name', () => {
    const when = [{ key: 'header:x-env', in: ['prod'] }];
    const deny = { ...allow('web', 'payments', { when }), id: 'no', effect: 'deny' as const };
    const denying = compileProgram({ revision: 1, rules: [allow('web', 'payments'), deny], groups: {} });
    const allowing = compileProgram({ revision: 1, rules: [allow('web', 'payments', { when })], groups: {} });
    const ask = (program: Program, fields: readonly string[]) =>
      authorize({ program, from, to, port: 80, head: headOf(fields), facts }).isPermit;
    expect(ask(denying, ['x-env', 'dev'])).toBe(true);
    expect(ask(denying, ['x-env', 'dev', 'x-env', 'prod'])).toBe(false);
    expect(ask(denying, ['x-env', 'prod', 'x-env', 'dev'])).toBe(false);
    expect(ask(denying, ['x_env', 'prod'])).toBe(false);
    expect(ask(allowing, ['x-env', 'prod'])).toBe(true);
    expect(ask(allowing, ['x-env', 'prod', 'x-env', 'dev'])).toBe(false);
    expect(ask(allowing, [])).toBe(false);
  });
});

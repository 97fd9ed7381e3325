import { generateKeyPairSync } from 'node:crypto';
import { SignJWT } from 'jose';
import { expect, test } from 'vitest';
import { allow, call, serviceEntry, startApp, startPair } from '../helpers/mesh.ts';

const pair = generateKeyPairSync('ed25519');
const issuers = [
  {
    issuer: 'https://id.example',
    audiences: ['mesh'],
    keys: [pair.publicKey.export({ format: 'jwk' }) as Record<string, unknown>],
  },
];
const token = (payload: object, key = pair.privateKey): Promise<string> =>
  new SignJWT({ iss: 'https://id.example', aud: 'mesh', exp: 4_000_000_000, ...payload })
    .setProtectedHeader({ alg: 'EdDSA' })
    .sign(key);

async function mesh() {
  const pair = await startPair({ app: await startApp((_, response) => response.end('ok')) });
  const { web, payments } = pair;
  const use = (revision: number, ...rules: ReturnType<typeof allow>[]): void => {
    const policy = { revision, rules, groups: {}, issuers };
    web.apply({ policy, services: [serviceEntry('payments', payments.addresses.inbound.port)] });
    payments.apply({ policy });
  };
  const status = async (path: string, authorization?: string): Promise<number> => {
    const headers = authorization ? [`authorization: ${authorization}`] : [];
    return (await call(web, { path, headers })).status;
  };
  return { ...pair, use, status };
}

test('35: identity and token are both required, and a bad token is never a missing one', async () => {
  const { use, status, web } = await mesh();
  const when = [{ key: 'jwt:claims.role', in: ['clerk'] }];
  use(
    20,
    allow('web', 'payments', { id: 'open', paths: ['/open'] }),
    allow('web', 'payments', { id: 'clerks', paths: ['/x'], when }),
    {
      ...allow('web', 'payments', {
        id: 'guests',
        paths: ['/open'],
        when: [{ key: 'jwt:claims.role', in: ['guest'] }],
      }),
      effect: 'deny',
    },
  );
  expect(await status('/x')).toBe(403);
  expect(await status('/x', `Bearer ${await token({ role: 'clerk' })}`)).toBe(200);
  expect(await status('/x', `Bearer ${await token({ role: 'boss' })}`)).toBe(403);
  expect(await status('/x', `Bearer ${await token({ role: 'clerk', aud: 'web' })}`)).toBe(403);
  expect(await status('/open')).toBe(200);
  expect(await status('/open', `Bearer ${await token({ role: 'guest' })}`)).toBe(403);
  const forged = await token({ role: 'boss' }, generateKeyPairSync('ed25519').privateKey);
  expect(await status('/open', `Bearer ${forged}`)).toBe(403);
  expect((await web.recorded(7)).at(-1)).toMatchObject({ decision: 'deny', reason: 'token-refused' });
});

test('source:address is decided where it can be seen, and time by the clock of the proxy', async () => {
  const { use, status } = await mesh();
  use(30, allow('web', 'payments', { when: [{ key: 'source:address', in: ['127.0.0.0/8'] }] }));
  expect(await status('/')).toBe(200);
  use(31, allow('web', 'payments', { when: [{ key: 'source:address', in: ['10.0.0.0/8'] }] }));
  expect(await status('/')).toBe(403);
  use(32, allow('web', 'payments', { when: [{ key: 'time:utc', in: ['00:00-24:00'] }] }));
  expect(await status('/')).toBe(200);
  use(33, allow('web', 'payments'), {
    ...allow('web', 'payments', { id: 'd', when: [{ key: 'time:utc', in: ['00:00-24:00'] }] }),
    effect: 'deny',
  });
  expect(await status('/')).toBe(403);
});

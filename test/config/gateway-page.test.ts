// docs/gateway.md: its examples are files that a gateway takes.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseGateway } from '#config/gateway';
import { temporaryFolder } from '../helpers/folder.ts';

const page = readFileSync(new URL('../../docs/gateway.md', import.meta.url), 'utf8');
const examples = [...page.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text]) => text!);

describe('docs/gateway.md', () => {
  test('has an example of each use', () => {
    expect(examples.map((text) => /service: (\w+)/.exec(text)?.[1])).toEqual(['edge', 'stock', 'egress']);
  });

  test.each(examples)('%#: this file is taken', (text) => {
    const folder = temporaryFolder();
    const [key, cert] = ['shop.key', 'shop.crt'].map((name) => join(folder, name));
    const subject = ['-subj', '/CN=shop.example.com', '-addext', 'subjectAltName=DNS:shop.example.com'];
    const words = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'];
    execFileSync('openssl', [...words, ...subject, '-keyout', key!, '-out', cert!], { stdio: 'ignore' });
    const read = parseGateway(text, join(folder, 'gateway.yaml'), { now: Date.now(), tokens: new Map() });
    expect(read.problems).toEqual([]);
    expect(read.config).toBeDefined();
  });
});

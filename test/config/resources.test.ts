// Resource files: what is read, and where every problem is said to be.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadResources, parseResources } from '#config/resources';
import { resourceSchemas } from '#wire';

const kinds = `kinds: ${Object.keys(resourceSchemas).join(', ')}`;

/** Problems as `line:column message [hint]`. */
function problemsOf(text: string): string[] {
  const { resources, problems } = parseResources(text, 'p.yaml');
  if (problems.length > 0) expect(resources).toEqual([]);
  return problems.map(({ file, line, column, message, hint }) => {
    expect(file).toBe('p.yaml');
    return `${line}:${column} ${message}${hint ? ` [${hint}]` : ''}`;
  });
}

const group = 'kind: Group\nname: g\nmembers: [a]\n';

describe('what is read', () => {
  test('many documents, empty ones skipped, with the place of everything', () => {
    const { resources, problems } = parseResources(
      `---\n${group}---\n---\n# only a comment\n---\n~\n---\n${group}`,
      'p.yaml',
    );
    expect(problems).toEqual([]);
    expect(resources.map(({ resource }) => resource)).toEqual([
      { kind: 'Group', name: 'g', members: ['a'] },
      { kind: 'Group', name: 'g', members: ['a'] },
    ]);
    expect(resources[0]!.origin).toEqual({
      file: 'p.yaml',
      positions: { '': [2, 1], '/kind': [2, 7], '/name': [3, 7], '/members': [4, 10], '/members/0': [4, 11] },
    });
    expect(resources[1]!.origin!.positions['/members/0']).toEqual([13, 11]);
  });

  test('a list stands for its items, each with pointers of its own', () => {
    const { resources } = parseResources(
      '- {kind: Group, name: a, members: [x]}\n- {kind: Group, name: b, members: [y]}\n',
      'p',
    );
    expect(resources.map(({ resource }) => resource.name)).toEqual(['a', 'b']);
    expect(resources[1]!.origin!.positions['/name']).toEqual([2, 23]);
  });

  test('JSON, indented with tabs, after a byte order mark', () => {
    const { resources, problems } = parseResources(
      '{\n\t"kind": "Group",\n\t"name": "g",\n\t"members": ["a"]\n}\n',
      'p.json',
    );
    expect(problems).toEqual([]);
    expect(resources[0]!.origin!.positions['/name']).toEqual([3, 10]);
  });

  test('anchors within reason', () => {
    const { resources } = parseResources('kind: Group\nname: g\nmembers: [&a x, *a]\n', 'p');
    expect(resources[0]!.resource).toMatchObject({ members: ['x', 'x'] });
  });

  test('nothing is read', () => {
    expect(parseResources('', 'p')).toEqual({ resources: [], problems: [] });
    expect(parseResources('# nothing\n', 'p')).toEqual({ resources: [], problems: [] });
  });
});

describe('K3: what is refused, with line and column', () => {
  test.each([
    ['duplicate keys', `${group}name: h\n`, ['4:1 "name" is there twice']],
    ['tabs', 'kind: Group\nname: g\nmembers:\n\t- a\n', ['4:1 tabs are not allowed as indentation']],
    [
      'wrong types',
      'kind: Group\nname: 5\nmembers: a\n',
      ['2:7 name must be a string, not 5', '3:10 members must be a list, not "a"'],
    ],
    ['unknown keys', `${group}membres: [b]\n`, ['4:1 unknown key "membres" [did you mean members?]']],
    ['missing keys', 'kind: Group\nname: g\n', ['1:1 members is missing']],
    ['an unknown kind', 'name: x\nkind: Polcy\n', ['2:7 there is no kind "Polcy" [did you mean Policy?]']],
    ['a kind that is no text', 'kind: [Policy]\n', [`1:7 there is no kind ["Policy"] [${kinds}]`]],
    ['a kind that every object has', 'kind: constructor\n', [`1:7 there is no kind "constructor" [${kinds}]`]],
    ['no kind', 'name: x\n', [`1:1 kind is missing [${kinds}]`]],
    ['a text', 'hello\n', [`1:1 a resource is a map with a kind [${kinds}]`]],
    [
      'a __proto__ key',
      `${group}__proto__: {x: 1}\n`,
      ['4:1 unknown key "__proto__" [known keys: kind, name, description, members]'],
    ],
    ['a merge key', `${group}<<: {x: 1}\n`, ['4:1 unknown key "<<" [known keys: kind, name, description, members]']],
    ['a tag', 'kind: !!js/function "x"\n', ['1:7 unresolved tag: tag:yaml.org,2002:js/function']],
    ['a key that is no text', '? [a]\n: b\n', ['1:3 with stringKeys, all keys must be strings']],
    ['an unknown anchor', 'kind: *nope\n', ['1:7 there is no anchor nope']],
    ['an alias of itself', 'kind: &a [*a]\n', ['1:11 it is nested more than 32 deep']],
    ['deep nesting', `kind: ${'['.repeat(40)}${']'.repeat(40)}\n`, ['1:39 it is nested more than 32 deep']],
    ['a hundred thousand brackets', '['.repeat(100_000), ['1:33 it is nested more than 32 deep']],
    ['a hundred thousand list marks', '- '.repeat(100_000), ['1:65 it is nested more than 32 deep']],
    ['something that is no YAML', 'kind: "Group\n', ['2:1 missing closing "quote']],
  ])('%s', (_, text, expected) => {
    expect(problemsOf(text)).toEqual(expected);
  });

  test('an alias bomb', () => {
    const names = [...'abcdefghij'];
    const lines = names.map(
      (name, index) => `${name}: &${name} [${Array(9).fill(index === 0 ? 'x' : `*${names[index - 1]}`)}]`,
    );
    expect(problemsOf(lines.join('\n'))).toEqual(['5:8 its aliases stand for more than 10000 values']);
  });

  test('__proto__ never reaches a prototype', () => {
    parseResources('kind: Group\n__proto__: {polluted: true}\nconstructor: {prototype: {polluted: true}}\n', 'p');
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  test('all problems of all documents come at once, in the order of lines', () => {
    const text = `kind: Policy\nname: p\nto: x\nrules:\n  - id: a\n    effect: alow\n    fron: [b]\n---\n${group}name: h\n---\nkind: Grup\n`;
    expect(problemsOf(text)).toEqual([
      '5:5 from is missing',
      '6:13 effect must be one of allow, deny, not "alow" [did you mean allow?]',
      '7:5 unknown key "fron" [did you mean from?]',
      '12:1 "name" is there twice',
      '14:7 there is no kind "Grup" [did you mean Group?]',
    ]);
  });

  test('a hundred problems and the number of the rest', () => {
    const problems = problemsOf(Array.from({ length: 500 }, () => 'a: 1').join('\n'));
    expect(problems.length).toBeLessThan(105);
    expect(problems.some((problem) => problem.endsWith('and 399 more problems'))).toBe(true);
  });
});

describe('files and folders', () => {
  let folder: string;
  const path = (name: string): string => join(folder, name);
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'postern-resources-'));
    mkdirSync(path('all/inner'), { recursive: true });
    mkdirSync(path('empty'));
    const named = (name: string): string => group.replace('name: g', `name: ${name}`);
    writeFileSync(path('all/b.yml'), named('b'));
    writeFileSync(path('all/a.yaml'), named('a'));
    writeFileSync(path('all/c.json'), '{"kind":"Group","name":"c","members":["x"]}');
    writeFileSync(path('all/inner/d.yaml'), named('d'));
    writeFileSync(path('all/readme.txt'), 'not a resource');
    writeFileSync(path('all/.hidden.yaml'), 'nor: this');
    writeFileSync(path('latin.yaml'), Buffer.from('kind: Group\nname: \xe9', 'latin1'));
    writeFileSync(path('large.yaml'), Buffer.alloc(10 * 1024 * 1024 + 1, 0x23));
    writeFileSync(path('bom.json'), '\ufeff{"kind":"Group","name":"c","members":["x"]}');
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test('a folder is read in order of name, folders in it too, hidden and other files not', () => {
    const { resources, problems } = loadResources([path('all')]);
    expect(problems).toEqual([]);
    expect(resources.map(({ resource }) => resource.name)).toEqual(['a', 'b', 'c', 'd']);
    expect(resources[0]!.origin!.file).toBe(path('all/a.yaml'));
  });

  test('a byte order mark is no part of the text', () => {
    expect(loadResources([path('bom.json')]).resources).toHaveLength(1);
  });

  test.each([
    ['latin.yaml', 'it is not UTF-8', 2, 7],
    ['large.yaml', 'it is larger than 10 MiB; split it', 1, 1],
    ['missing.yaml', 'it cannot be read: there is no such file or folder', undefined, undefined],
    ['empty', 'it cannot be read: it holds no .yaml, .yml or .json file', undefined, undefined],
  ])('K3: %s: %s', (name, message, line, column) => {
    const { resources, problems } = loadResources([path(name)]);
    expect(resources).toEqual([]);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatchObject({ file: path(name), message });
    expect([problems[0]!.line, problems[0]!.column]).toEqual([line, column]);
  });

  test('what is neither a file nor a folder is not read', () => {
    expect(loadResources(['/dev/zero']).problems[0]!.message).toContain('neither a file nor a folder');
  });
});

test('H37: a line end in anything that could reach a header or a path is refused', () => {
  const policy = (name: string, id: string, path: string, method = 'GET'): string =>
    JSON.stringify({
      ...{ kind: 'Policy', name, to: ['a'] },
      rules: [{ id, effect: 'allow', from: ['b'], methods: [method], paths: [path] }],
    });
  expect(problemsOf(policy('p', 'r', '/x'))).toEqual([]);
  for (const bad of ['a\r\nx-evil: 1', 'a\nb', 'a\rb', 'a\0b']) {
    expect(problemsOf(policy(bad, 'r', '/x')), 'the name goes into x-postern-decision').not.toEqual([]);
    expect(problemsOf(policy('p', bad, '/x')), 'and so does the rule').not.toEqual([]);
    expect(problemsOf(policy('p', 'r', '/x', bad))).not.toEqual([]);
  }
});

describe('files that a cluster names', () => {
  const cluster = (tls: string): string =>
    `kind: Cluster\nname: stripe\nendpoints: { dns: "api.stripe.com:443" }\nhosts: [api.stripe.com]\ntls: ${tls}\n`;
  const ca = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'postern-'));
    writeFileSync(join(folder, 'ca.pem'), ca);
    writeFileSync(join(folder, 'empty.pem'), '\n');
    writeFileSync(join(folder, 'large.pem'), `${ca}${'x'.repeat(70_000)}`);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test('are read beside it: what is applied has the certificates in it', () => {
    writeFileSync(join(folder, 'good.yaml'), cluster('{ caFile: ca.pem, minVersion: "1.3" }'));
    const { resources, problems } = loadResources([join(folder, 'good.yaml')]);
    expect(problems).toEqual([]);
    expect(resources[0]?.resource).toMatchObject({ tls: { ca, minVersion: '1.3' } });
    expect(JSON.stringify(resources[0]?.resource)).not.toContain('caFile');
  });

  test.each([
    ['nowhere.pem', /^caFile nowhere.pem: /],
    ['empty.pem', /^caFile empty.pem: there is no certificate in it$/],
    ['large.pem', /^caFile large.pem: \/tls\/ca must be at most 65536 characters long$/],
  ])('K3: %s is refused with its place', (file, words) => {
    writeFileSync(join(folder, 'bad.yaml'), cluster(`{ caFile: ${file} }`));
    const { resources, problems } = loadResources([join(folder, 'bad.yaml')]);
    expect(resources).toEqual([]);
    expect(problems).toMatchObject([{ message: expect.stringMatching(words), line: 5, column: 16 }]);
  });

  test('K3: a file beside the text itself is one too many', () => {
    writeFileSync(join(folder, 'both.yaml'), cluster('{ caFile: ca.pem, ca: x }'));
    expect(loadResources([join(folder, 'both.yaml')]).problems).toMatchObject([
      { message: 'caFile stands beside ca; write one of them' },
    ]);
  });
});

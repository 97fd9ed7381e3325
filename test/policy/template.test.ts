// A template is written in the form that requests have, or it is refused.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readTemplate } from '../../policy/template.ts';
import { canonicalPath } from '../../proxy/canonical-path.ts';

describe('templates', () => {
  test.each([
    ['charges', 'start with /'],
    ['', 'start with /'],
    ['/a//b', 'empty segment'],
    ['//', 'empty segment'],
    ['/./a', '. segment'],
    ['/a/..', '.. segment'],
    ['/a%2Fb', 'refused'],
    ['/a%5cb', 'refused'],
    ['/%00', 'refused'],
    ['/%3F', 'refused'],
    ['/%23', 'refused'],
    ['/%3b', 'refused'],
    ['/%25', 'refused'],
    ['/%FF', 'UTF-8'],
    ['/%zz', 'not a percent-encoding'],
    ['/%', 'not a percent-encoding'],
    ['/%41', 'is A; write it so'],
    ['/%c3%a9', 'write %C3'],
    ['/a;v=1', 'path parameter'],
    ['/a?x=1', 'query'],
    ['/a#x', 'fragment'],
    ['/a b', 'percent-encoded'],
    ['/é', 'percent-encoded'],
    ['/a\\b', 'percent-encoded'],
    ['/admin*', 'whole segment'],
    ['/a/**/b', 'last segment'],
    ['/a/***', 'whole segment'],
    ['/{id', 'whole segment'],
    ['/a{id}', 'whole segment'],
    ['/{}', 'whole segment'],
    ['/{a b}', 'whole segment'],
    ['/{id}/{id}', 'twice'],
    ['/!/%2a', 'cannot be told'],
  ])('%j is refused: %s', (template, reason) => {
    expect(readTemplate(template)).toContain(reason);
  });

  test('*, ** and named parameters are read', () => {
    expect(readTemplate('/a/{id}/*/**')).toEqual({
      steps: [{ literal: 'a' }, { parameter: 'id' }, { parameter: '*' }],
      rest: true,
    });
  });

  test('a path that a template can hold literally is exactly what the data plane makes of it, and nothing else is', () => {
    const piece = fc.constantFrom(
      'a',
      'B',
      '7',
      '/',
      '/',
      '.',
      '..',
      '-',
      '_',
      '~',
      '%C3%A9',
      '%c3',
      '%41',
      '%2F',
      '%',
      ';',
      '!',
      "'",
      '(',
      '+',
      ',',
      '=',
      ':',
      '@',
      '&',
      '$',
      '%20',
      '%7B',
      ' ',
      '\\',
      '%2e',
      '|',
    );
    const path = fc.array(piece, { maxLength: 8 }).map((pieces) => `/${pieces.join('')}`);
    fc.assert(
      fc.property(path, (text) => {
        let canonical: string | undefined;
        try {
          canonical = canonicalPath(text);
        } catch {
          // Requests like that are refused; so must the template be.
        }
        const accepted = typeof readTemplate(text) !== 'string';
        expect(accepted).toBe(canonical === text);
      }),
      { numRuns: 3_000 },
    );
  });
});

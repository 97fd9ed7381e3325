// The files of `postern policy test`: calls and the answer that each must get. All problems at once, with line and column; half a file of cases
// is never run.
import type { Problem } from '#base/error';
import { check, type Static, s } from '#base/schema';
import { readText } from './text-file.ts';
import { placeOf, readDocuments } from './yaml.ts';

const line = (description: string, maxLength = 2_048) => s.string({ minLength: 1, maxLength, description });
const oneCase = s.object({
  name: s.optional(line('what the case is about')),
  from: line('a service or a SPIFFE ID'),
  to: line('a service or a SPIFFE ID'),
  method: s.string({ pattern: "^[A-Z0-9!#$%&'*+.^_`|~-]{1,32}$", title: 'an upper-case HTTP method' }),
  path: s.string({ minLength: 1, maxLength: 8_192 }),
  port: s.optional(s.integer({ minimum: 1, maximum: 65_535 })),
  headers: s.optional(
    s.record(s.anyOf(s.string({ maxLength: 8_192 }), s.array(s.string({ maxLength: 8_192 }), { maxItems: 64 }))),
  ),
  claims: s.optional(s.record(s.unknown())),
  address: s.optional(line('where the request comes from', 64)),
  time: s.optional(line('RFC 3339', 64)),
  expect: s.enum(['allow', 'deny']),
  rule: s.optional(line('policy/rule that must decide', 260)),
});
const casesSchema = s.object({ cases: s.array(oneCase, { minItems: 1, maxItems: 100_000 }) });

export type PolicyCase = Static<typeof oneCase> & {
  readonly source: { readonly file: string; readonly line: number; readonly column: number };
};

export interface LoadedCases {
  readonly cases: readonly PolicyCase[];
  readonly problems: readonly Problem[];
}

export function loadCases(files: readonly string[]): LoadedCases {
  const loaded = files.map(loadFile);
  const problems = loaded.flatMap((each) => each.problems);
  return { cases: problems.length > 0 ? [] : loaded.flatMap((each) => each.cases), problems };
}

function loadFile(file: string): LoadedCases {
  const read = readText(file);
  if ('problem' in read) return { cases: [], problems: [read.problem] };
  const { documents, problems } = readDocuments(read.text, file);
  if (problems.length === 0 && documents.length === 0)
    problems.push({ message: 'it holds no cases', file, line: 1, column: 1 });
  const cases = documents.flatMap((document): PolicyCase[] => {
    const found = check(casesSchema, document.value);
    for (const { pointer = '', ...problem } of found) {
      const [at, column] = placeOf(document, pointer, problem.message.startsWith('unknown key'));
      const key = pointer.split('/').at(-1)!;
      const message = key === '' || /^\d+$/.test(key) ? problem.message : `${key} ${problem.message}`;
      problems.push({ ...problem, message, pointer, file, line: at, column });
    }
    if (found.length > 0) return [];
    return (document.value as Static<typeof casesSchema>).cases.map((one, index) => {
      const [at, column] = placeOf(document, `/cases/${index}`, false);
      return { ...one, source: { file, line: at, column } };
    });
  });
  return { cases, problems };
}

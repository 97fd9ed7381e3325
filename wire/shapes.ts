// Small shapes that several resources share: names, durations, percentages, sizes, header names.
import { durationPattern } from '#base/duration';
import { type JsonSchema, type Schema, s } from '#base/schema';

/** Names of policies, rules, groups, clusters, virtual services. */
export const namePattern = '^[a-zA-Z0-9]([a-zA-Z0-9._/-]{0,126}[a-zA-Z0-9])?$';
export const name = (description: string): Schema<string> =>
  s.string({ pattern: namePattern, title: 'a name of letters, digits and . _ - / (at most 128)', description });

export const description = s.optional(s.string({ maxLength: 1_024 }));

export const duration = (text: string, rules: Pick<JsonSchema, 'default'> = {}): Schema<string> =>
  s.string({
    pattern: durationPattern,
    title: 'a duration such as 250ms or 30s',
    maxLength: 32,
    description: text,
    ...rules,
  });

export const percentage = (text: string, rules: Pick<JsonSchema, 'default'> = {}): Schema<string> =>
  s.string({
    pattern: '^(100(\\.0+)?|[0-9]{1,2}(\\.[0-9]{1,4})?)%$',
    title: 'a percentage such as 20%',
    description: text,
    ...rules,
  });

export const bytes = (text: string): Schema<string> =>
  s.string({ pattern: '^[0-9]{1,12}(KiB|MiB|GiB)?$', title: 'a size such as 512KiB or 10MiB', description: text });

/** Lower case, as HTTP/2 has them. */
export const headerName = s.string({
  pattern: "^[a-z0-9!#$%&'*+.^_`|~-]{1,128}$",
  title: 'a lower-case header name',
});
/** No control character but tab (RFC 9110 section 5.5). */
export const headerValue = s.string({
  pattern: '^[\\t\\x20-\\x7e\\x80-\\uffff]*$',
  title: 'a header value without control characters',
  maxLength: 4_096,
});

/** A host name in lower case, or `*.` and one. */
export const hostPattern = (text: string): Schema<string> =>
  s.string({
    pattern:
      '^(\\*\\.)?[a-z0-9_]([a-z0-9_-]{0,62}[a-z0-9_])?(\\.[a-z0-9_]([a-z0-9_-]{0,62}[a-z0-9_])?)*$|^[0-9a-f:.]+$',
    title: 'a lower-case host name, *.host, or an IP address',
    maxLength: 253,
    description: text,
  });

export const address = (text: string): Schema<string> =>
  s.string({
    pattern: '^(\\[[0-9a-fA-F:.]+\\]|[A-Za-z0-9._-]+):[0-9]{1,5}$',
    title: 'HOST:PORT',
    maxLength: 300,
    description: text,
  });

export const statusCode = (text: string, least = 200): Schema<number> =>
  s.integer({ minimum: least, maximum: 599, description: text });

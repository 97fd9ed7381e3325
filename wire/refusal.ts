// The shape of every refusal of the control plane, checked before its words are believed.
import { s } from '#base/schema';

export const errorReply = s.object({
  error: s.object({
    code: s.string({ pattern: '^[A-Z][A-Z0-9_]{1,63}$', title: 'an error code' }),
    message: s.string({ maxLength: 16_384 }),
    hint: s.optional(s.string({ maxLength: 16_384 })),
    problems: s.optional(
      s.array(
        s.object({
          message: s.string({ maxLength: 16_384 }),
          file: s.optional(s.string({ maxLength: 4_096 })),
          line: s.optional(s.integer()),
          column: s.optional(s.integer()),
          pointer: s.optional(s.string({ maxLength: 16_384 })),
          hint: s.optional(s.string({ maxLength: 16_384 })),
        }),
        { maxItems: 10_000 },
      ),
    ),
  }),
});

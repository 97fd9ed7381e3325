// A decision of policy as people read it: what was decided and by which rule, what also matched, and what came near.
import type { Explanation, RuleRef } from '#policy';
import type { Paint } from './paint.ts';

/** The verdict first, then a line for each rule that had a part in it. */
export function verdictLines({ decision, rule, matched, nearest, models = [] }: Explanation, paint: Paint): string[] {
  const verdict = paint(decision.effect === 'allow' ? 'good' : 'bad', decision.effect);
  const lines = [`${verdict}   ${decision.reason}   revision ${decision.revision}`];
  if (rule) lines.push('decided by', `  ${refText(rule)}`);
  if (matched.length > 0) lines.push('also matched', ...matched.map((each) => `  ${refText(each)}`));
  for (const { name, answer } of models) lines.push(`CasbinModel ${name} says ${modelWords[answer]}`);
  if (nearest.length > 0) {
    lines.push('nearest rules, and what each missed');
    for (const miss of nearest) lines.push(`  ${refText(miss)}`, `    ${miss.missed}: ${miss.reason}`);
  } else if (decision.reason === 'default-deny') lines.push('no rule comes near: what nothing allows is denied');
  return lines;
}

const modelWords = {
  allow: 'allow',
  deny: 'deny',
  none: 'nothing: no row of it matches',
  fault: 'nothing it can stand by (a value is missing, is a list, or is the name of a role), so the call is denied',
} as const;

/** `allow payments-access/charges   policies/payments.yaml:5:5` */
export function refText({ rule, effect, shadow, source, row }: RuleRef): string {
  const place = source ? `   ${source.file}:${source.line}:${source.column}` : '';
  return `${effect} ${rule}${shadow ? ' (shadow)' : ''}${row ? `   ${row.join(', ')}` : ''}${place}`;
}

// Which fields cross this proxy, and the ones that say who called. What claims an identity is stripped wherever it comes from; then ours are set.
import type { FieldList } from './request-head.ts';
import { addTrace, isTraceField, type Trace } from './tracing/context.ts';

/**
 * Toward the application. Kept: everything else, `x-forwarded-for`, `-host`, `-proto` and `-port` included, which are the word of the calling
 * application. `x-forwarded-client-cert` is as Envoy writes it; the values are SPIFFE IDs, which hold no character that needs quoting.
 */
export function fieldsForApp(
  fields: FieldList,
  o: { own: string; peer: string; decision: string; trace?: Trace | undefined },
): FieldList {
  const kept = onward(fields, o.trace);
  kept.push(
    'x-forwarded-client-cert',
    `By=${o.own};URI=${o.peer}`,
    'x-postern-peer',
    o.peer,
    'x-postern-decision',
    o.decision,
  );
  return kept;
}

/** From the local application toward the other sidecar, which would strip the same fields again. */
export function fieldsForPeer(fields: FieldList, trace?: Trace): FieldList {
  return onward(fields, trace);
}

/** From the application toward the caller: it cannot speak as a proxy. */
export function fieldsFromApp(fields: FieldList): FieldList {
  for (let at = 0; at < fields.length; at += 2) if (isIdentity(fields[at]!)) return withoutIdentity(fields);
  return fields;
}

/** Without what claims an identity; the next hop is told of the span here, when there is one. */
function onward(fields: FieldList, trace: Trace | undefined): string[] {
  if (!trace) return withoutIdentity(fields);
  const kept: string[] = [];
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at]!;
    if (!isIdentity(name) && !isTraceField(name)) kept.push(name, fields[at + 1]!);
  }
  addTrace(kept, trace);
  return kept;
}

function withoutIdentity(fields: FieldList): string[] {
  const kept: string[] = [];
  for (let at = 0; at < fields.length; at += 2) {
    if (!isIdentity(fields[at]!)) kept.push(fields[at]!, fields[at + 1]!);
  }
  return kept;
}

function isIdentity(name: string): boolean {
  const first = name.charCodeAt(0);
  if (first === 102) return name === 'forwarded';
  return first === 120 && (name === 'x-forwarded-client-cert' || name.startsWith('x-postern-'));
}

// The assertions that operators wrote, held against the policy that their resources make: a problem for each that is broken, with the request
// that breaks it. What cannot be proved is a problem too, never a silent yes.
import type { Problem } from '#base/error';
import { isPosternError } from '#base/error';
import type { LocatedResource, PolicySet } from '#wire';
import { groupsOf } from '../build.ts';
import { positionOf } from '../problems.ts';
import { resolveSource } from '../source.ts';
import { invariantsIn } from '../validate.ts';
import { type Counterexample, createProver, type Invariant } from './assert.ts';

export interface Proof {
  readonly assertion: string;
  readonly kind: 'never' | 'always';
  /** JSON pointer within the assertion. */
  readonly pointer: string;
  readonly source?: { readonly file: string; readonly line: number; readonly column: number };
  readonly holds: boolean;
  readonly counterexample?: Counterexample;
  /** Why no answer could be had. */
  readonly fault?: string;
}

export interface Asserted {
  /** Assertions, and the groups that they name. */
  readonly resources: readonly LocatedResource[];
  readonly set: PolicySet;
  readonly trustDomain: string;
}

/** One proof for each invariant, in order. Call it only on resources in which `validateResources` finds nothing. */
export function proveAssertions({ resources, set, trustDomain }: Asserted): Proof[] {
  if (!resources.some(({ resource }) => resource.kind === 'Assertion')) return [];
  const groups = groupsOf(resources, trustDomain);
  const resolve = (texts: string | readonly string[] | undefined): string[] => {
    const named = [texts ?? []].flat().map((text) => resolveSource(text, trustDomain));
    return [...new Set(named.flatMap((text) => (text.startsWith('group:') ? groups.get(text.slice(6))! : [text])))];
  };
  const prover = createProver(set);
  return resources.flatMap(({ resource, origin }) => {
    if (resource.kind !== 'Assertion') return [];
    return invariantsIn(resource).map(({ kind, pointer, invariant }): Proof => {
      const { from, except, to, ...rest } = invariant;
      const asked: Invariant = { kind, from: resolve(from), except: resolve(except), to: resolve(to), ...rest };
      const at = origin && positionOf(origin, pointer);
      const facts = {
        assertion: resource.name,
        kind,
        pointer,
        ...(origin && at ? { source: { file: origin.file, ...at } } : {}),
      };
      try {
        const counterexample = prover.breach(asked);
        return { ...facts, holds: !counterexample, ...(counterexample ? { counterexample } : {}) };
      } catch (thrown) {
        if (!isPosternError(thrown)) throw thrown;
        return { ...facts, holds: false, fault: thrown.message };
      }
    });
  });
}

/** What is wrong with those that do not hold. */
export function problemsOfProofs(proofs: readonly Proof[]): Problem[] {
  return proofs.flatMap(({ assertion, kind, pointer, source, holds, counterexample, fault }) => {
    if (holds) return [];
    const message = `Assertion ${assertion}: ${counterexample ? breachText(kind, counterexample) : fault}`;
    return [{ message, pointer, ...source }];
  });
}

/** In words: the request and what it meets. */
export function breachText(kind: 'never' | 'always', { request, rules }: Counterexample): string {
  const { from, to, method, path, port, headers, claims, address, time } = request;
  const given = Object.entries(headers ?? {}).map(([name, values]) => `${name}: ${values.join(' | ')}`);
  const claimed = Object.entries(claims ?? {}).map(([name, values]) => `claim ${name}: ${values.join(' + ')}`);
  const place = [...(address === undefined ? [] : [`from ${address}`]), ...(time === undefined ? [] : [`at ${time}`])];
  const extra = [...(port === undefined ? [] : [`port ${port}`]), ...given, ...claimed, ...place].join(', ');
  const call = `${from} -> ${to} ${method} ${path}${extra ? ` (${extra})` : ''}`;
  const by = rules.length > 0 ? ` by ${rules.slice(0, 5).join(', ')}` : ' by default';
  return `${kind} does not hold: ${call} is ${kind === 'never' ? 'allowed' : 'denied'}${by}`;
}

// Questions about whole policies, answered over every possible request. Never loaded by a proxy, which asks about one request at a time.
export type { Counterexample, Invariant, Prover } from './assert.ts';
export { createProver } from './assert.ts';
export type { Asserted, Proof } from './assertions.ts';
export { breachText, problemsOfProofs, proveAssertions } from './assertions.ts';
export type { Change } from './diff.ts';
export { diffPolicies } from './diff.ts';
export type { Finding, LintCode } from './lint.ts';
export { lintCodes, lintPolicy } from './lint.ts';
export type { Call, Needs, Reach } from './reach.ts';
export { canReach, whoCan } from './reach.ts';
export type { Witness } from './witness.ts';

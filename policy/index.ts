// Policies: from what operators wrote to one decision per request. Casbin itself is behind another door (#policy/casbin): proxies never load it.

export { buildPolicySet } from './build.ts';
export { parseCasbinCsv } from './casbin-model/rows.ts';
export { policyErrors } from './errors.ts';
export type { Explanation, NearMiss, RuleRef } from './explain.ts';
export { explain } from './explain.ts';
export type { ModelAnswer, Models } from './models.ts';
export { costOfModels, loadModels, modelsFor } from './models.ts';
export type { Report } from './problems.ts';
export { positionOf, reporterTo, show, whereIs } from './problems.ts';
export type { BuildPace, Decision, PeerProgram, Program, ProgramOptions, Question } from './program.ts';
export { buildProgram, compileProgram, denyAll, isQuick } from './program.ts';
export type { Scope } from './scope.ts';
export { createScope } from './scope.ts';
export type { Mismatch } from './self-check.ts';
export { selfChecked } from './self-check.ts';
export type { Source } from './source.ts';
export { readSource, resolveSource } from './source.ts';
export type { Span } from './span.ts';
export { inSpans, isAddress, parseAddress, readBlock } from './span.ts';
export type { Step, Template } from './template.ts';
export { pathFault, readTemplate } from './template.ts';
export type { Claims, TokenVerifier } from './token.ts';
export { createTokenVerifier, valuesOf } from './token.ts';
export { validateResources } from './validate.ts';

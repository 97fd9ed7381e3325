// Questions about clusters and virtual services as operators write them. Never loaded by a proxy.

export { wordsOfText } from '../match.ts';
export { type ValidateOptions, validateTraffic } from '../validate.ts';
export type { AnalyzeOptions, Finding, LiveFacts, LiveService } from './analyze.ts';
export { analyzeTraffic } from './analyze.ts';
export type { FindingCode, Severity } from './codes.ts';
export { findingCodes } from './codes.ts';
export type { ExplainedRoute, ExplainedTarget, ExplainOptions, RouteExplanation } from './explain.ts';
export { explainRoute } from './explain.ts';

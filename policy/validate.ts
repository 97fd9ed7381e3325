// What is wrong with the meaning of policies and groups whose shape is right? Every problem at once, each where it was written; nothing is
// ever guessed or repaired.
import type { Problem } from '#base/error';
import { suggest } from '#base/suggest';
import type {
  AssertionResource,
  CasbinModelResource,
  GroupResource,
  InvariantResource,
  JwtIssuerResource,
  LocatedResource,
  PolicyResource,
  RuleResource,
} from '#wire';
import { readCasbinModel } from './casbin-model/read.ts';
import { readCondition } from './condition.ts';
import { findCycle } from './groups.ts';
import { readTokenKey } from './jwks.ts';
import { type Report, reporterTo, show, whereIs } from './problems.ts';
import { mostEntries } from './rule-index.ts';
import { readSource } from './source.ts';
import { readTemplate } from './template.ts';
import { getOrAdd } from './trie.ts';

export function validateResources(resources: readonly LocatedResource[]): Problem[] {
  const problems: Problem[] = [];
  const reporter = reporterTo(problems);
  const named = new Map<string, Map<string, LocatedResource>>();
  for (const located of resources) {
    const { kind, name } = located.resource;
    const known = getOrAdd(named, kind, () => new Map<string, LocatedResource>());
    const before = known.get(name);
    if (before) reporter(located)('/name', `there are two of this name${whereIs(before)}`);
    else known.set(name, located);
  }
  const groups = named.get('Group') ?? new Map<string, LocatedResource>();
  const checkSource = sourceChecker(new Set(groups.keys()));
  for (const located of resources) {
    const report = reporter(located);
    const { resource } = located;
    if (resource.kind === 'Group') checkGroup(resource, report, checkSource);
    else if (resource.kind === 'Policy') checkPolicy(resource, report, checkSource);
    else if (resource.kind === 'JwtIssuer') checkIssuer(resource, report);
    else if (resource.kind === 'CasbinModel') checkModel(resource, report, checkSource);
    else if (resource.kind === 'Assertion') checkAssertion(resource, report, checkSource);
  }
  reportCycle(groups, reporter);
  checkTokens(resources, reporter);
  return problems;
}

function checkGroup(group: GroupResource, report: Report, checkSource: SourceChecker): void {
  for (const [index, member] of group.members.entries()) checkSource(member, `/members/${index}`, report);
}

function checkPolicy(policy: PolicyResource, report: Report, checkSource: SourceChecker): void {
  if (typeof policy.to === 'string') checkSource(policy.to, '/to', report);
  else for (const [index, to] of policy.to.entries()) checkSource(to, `/to/${index}`, report);
  const ids = new Map<string, number>();
  const destinations = typeof policy.to === 'string' ? 1 : policy.to.length;
  let entries = 0;
  for (const [index, rule] of policy.rules.entries()) {
    const at = `/rules/${index}`;
    const before = ids.get(rule.id);
    if (before !== undefined) report(`${at}/id`, `rule ${rule.id}: rule ${before + 1} has this id too`);
    else ids.set(rule.id, index);
    checkRule(rule, at, (pointer, message, hint) => report(pointer, `rule ${rule.id}: ${message}`, hint), checkSource);
    entries += destinations * (rule.paths?.length ?? 1) * (rule.methods?.length ?? 1) * rule.from.length;
  }
  if (entries > mostEntries) {
    report(
      '/rules',
      `its rules make ${entries} combinations, more than ${mostEntries}`,
      'name a group instead of a list',
    );
  }
}

function checkModel(resource: CasbinModelResource, report: Report, checkSource: SourceChecker): void {
  const { to, model, modelFile, request, rows, rowsFile } = resource;
  if (typeof to === 'string') checkSource(to, '/to', report);
  else for (const [index, text] of to.entries()) checkSource(text, `/to/${index}`, report);
  for (const [what, file] of Object.entries({ modelFile, rowsFile }))
    if (file !== undefined) report(`/${what}`, 'a file is read by postern apply, from the file that names it');
  if (model === undefined) report('', 'it has no model', 'write its text, or name its file with modelFile');
  if (rows === undefined) report('', 'it has no rows', 'write them, or name their file with rowsFile');
  if (model === undefined || rows === undefined) return;
  const read = readCasbinModel({ model, request, rows });
  if ('text' in read) return;
  for (const { pointer, message } of read) report(pointer, message);
}

function checkIssuer({ issuer, jwks, jwksFile }: JwtIssuerResource, report: Report): void {
  if (/[\p{Cc}\s]/u.test(issuer)) report('/issuer', 'the issuer has white space or a control character');
  if (jwksFile !== undefined)
    report('/jwksFile', 'a file of keys is read by postern apply, from the file that names it');
  else if (!jwks) report('', 'it has no jwks', 'write the public keys, or name their file with jwksFile');
  const kids = new Set<unknown>();
  for (const [index, jwk] of (jwks?.keys ?? []).entries()) {
    const key = readTokenKey(jwk);
    if (typeof key === 'string') report(`/jwks/keys/${index}`, `key ${index + 1}: ${key}`);
    const name = `${String(jwk.alg)} ${String(jwk.kid)}`;
    if (kids.has(name)) report(`/jwks/keys/${index}`, `key ${index + 1}: another key has its kid`);
    kids.add(name);
  }
}

/** Claims without an issuer are nobody's word; two resources of one issuer would be two answers to whose keys count. */
function checkTokens(resources: readonly LocatedResource[], reporter: (located: LocatedResource) => Report): void {
  const issuers = new Map<string, LocatedResource>();
  for (const located of resources) {
    if (located.resource.kind !== 'JwtIssuer') continue;
    const before = issuers.get(located.resource.issuer);
    if (before) reporter(located)('/issuer', `there are two of this issuer${whereIs(before)}`);
    issuers.set(located.resource.issuer, located);
  }
  if (issuers.size > 0) return;
  for (const located of resources) {
    const { resource } = located;
    if (resource.kind === 'CasbinModel') {
      const field = Object.entries(resource.request ?? {}).find(([, source]) => source.startsWith('jwt:'))?.[0];
      if (field !== undefined)
        reporter(located)(`/request/${field}`, 'fields from JWT claims need a JwtIssuer resource, and there is none');
    }
    if (located.resource.kind !== 'Policy') continue;
    for (const [index, rule] of located.resource.rules.entries()) {
      const place = (rule.when ?? []).findIndex(({ key }) => key.startsWith('jwt:'));
      const pointer = `/rules/${index}/when/${place}/key`;
      if (place >= 0)
        reporter(located)(
          pointer,
          `rule ${rule.id}: conditions on JWT claims need a JwtIssuer resource, and there is none`,
        );
    }
  }
}

function checkAssertion(assertion: AssertionResource, report: Report, checkSource: SourceChecker): void {
  if (!assertion.never && !assertion.always) report('', 'it has neither never nor always');
  for (const { pointer, invariant } of invariantsIn(assertion)) {
    for (const what of ['from', 'except', 'to'] as const) {
      const texts = invariant[what] ?? [];
      if (typeof texts === 'string') checkSource(texts, `${pointer}/${what}`, report);
      else for (const [index, text] of texts.entries()) checkSource(text, `${pointer}/${what}/${index}`, report);
    }
    checkPaths(invariant.paths, pointer, report);
    checkConditions(invariant.when, pointer, report);
  }
}

/** Every invariant with its JSON pointer; one alone need not be a list. */
export function invariantsIn(
  assertion: AssertionResource,
): { kind: 'never' | 'always'; pointer: string; invariant: InvariantResource }[] {
  return (['never', 'always'] as const).flatMap((kind) => {
    const given = assertion[kind] ?? [];
    if (!Array.isArray(given)) return [{ kind, pointer: `/${kind}`, invariant: given as InvariantResource }];
    return given.map((invariant, index) => ({ kind, pointer: `/${kind}/${index}`, invariant }));
  });
}

function checkRule(rule: RuleResource, at: string, report: Report, checkSource: SourceChecker): void {
  for (const [index, from] of rule.from.entries()) checkSource(from, `${at}/from/${index}`, report);
  checkPaths(rule.paths, at, report);
  checkConditions(rule.when, at, report);
}

function checkPaths(paths: RuleResource['paths'], at: string, report: Report): void {
  for (const [index, path] of (paths ?? []).entries()) {
    const template = readTemplate(path);
    if (typeof template === 'string') report(`${at}/paths/${index}`, `path ${show(path)}: ${template}`);
  }
}

function checkConditions(when: RuleResource['when'], at: string, report: Report): void {
  const asked = new Set<string>();
  for (const [index, condition] of (when ?? []).entries()) {
    const pointer = `${at}/when/${index}`;
    const read = readCondition(condition);
    if ('faults' in read) {
      for (const { at: place, fault } of read.faults) {
        if (place === undefined) report(`${pointer}/key`, fault);
        else report(`${pointer}/in/${place}`, `value ${show(condition.in[place]!)}: ${fault}`);
      }
    }
    if (asked.has(condition.key)) {
      report(`${pointer}/key`, `${condition.key} is asked twice`, 'put all the values into one condition');
    }
    asked.add(condition.key);
  }
}

type SourceChecker = (text: string, pointer: string, report: Report) => void;

function sourceChecker(groups: ReadonlySet<string>): SourceChecker {
  // Looking for the nearest of ten thousand names is not free: after the first problems nobody reads hints any more.
  let hints = 20;
  return (text, pointer, report) => {
    const source = readSource(text);
    if (typeof source === 'string') return report(pointer, `${show(text)}: ${source}`);
    if (source.kind !== 'group' || groups.has(source.name)) return;
    const near = hints-- > 0 ? suggest(source.name, groups) : undefined;
    report(pointer, `there is no group ${source.name}`, near && `did you mean group:${near}?`);
  };
}

function reportCycle(
  groups: ReadonlyMap<string, LocatedResource>,
  reporter: (located: LocatedResource) => Report,
): void {
  const members = new Map(
    [...groups].map(([name, { resource }]) => [name, resource.kind === 'Group' ? resource.members : []]),
  );
  const cycle = findCycle(members);
  if (!cycle) return;
  const [first, second] = cycle as [string, string];
  const place = members.get(first)!.indexOf(`group:${second}`);
  reporter(groups.get(first)!)(`/members/${place}`, `it contains itself: ${cycle.join(' -> ')}`);
}

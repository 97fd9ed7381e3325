// What is wrong with the meaning of policies and groups whose shape is right? Every problem at once, each where it was written; nothing is
// ever guessed or repaired.
import type { Problem } from '#base/error';
import { suggest } from '#base/suggest';
import type { GroupResource, LocatedResource, PolicyResource, RuleResource } from '#wire';
import { positionOf } from './build.ts';
import { readConditionKey, valueFault } from './condition.ts';
import { findCycle } from './groups.ts';
import { mostEntries } from './program.ts';
import { readSource } from './source.ts';
import { readTemplate } from './template.ts';

type Report = (pointer: string, message: string, hint?: string) => void;

export function validateResources(resources: readonly LocatedResource[]): Problem[] {
  const problems: Problem[] = [];
  const reporter =
    ({ resource, origin }: LocatedResource): Report =>
    (pointer, message, hint) => {
      problems.push({
        message: `${resource.kind} ${resource.name}: ${message}`,
        ...(origin ? { file: origin.file, ...positionOf(origin, pointer) } : {}),
        pointer,
        ...(hint ? { hint } : {}),
      });
    };
  const groups = new Map<string, LocatedResource>();
  const policies = new Map<string, LocatedResource>();
  for (const located of resources) {
    const known = located.resource.kind === 'Group' ? groups : policies;
    const before = known.get(located.resource.name);
    if (before) reporter(located)('/name', `there are two of this name${whereIs(before)}`);
    else known.set(located.resource.name, located);
  }
  const checkSource = sourceChecker(new Set(groups.keys()));
  for (const located of resources) {
    const report = reporter(located);
    if (located.resource.kind === 'Group') checkGroup(located.resource, report, checkSource);
    else checkPolicy(located.resource, report, checkSource);
  }
  reportCycle(groups, reporter);
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

function checkRule(rule: RuleResource, at: string, report: Report, checkSource: SourceChecker): void {
  for (const [index, from] of rule.from.entries()) checkSource(from, `${at}/from/${index}`, report);
  for (const [index, path] of (rule.paths ?? []).entries()) {
    const template = readTemplate(path);
    if (typeof template === 'string') report(`${at}/paths/${index}`, `path ${show(path)}: ${template}`);
  }
  const asked = new Set<string>();
  for (const [index, condition] of (rule.when ?? []).entries()) {
    const pointer = `${at}/when/${index}`;
    const key = readConditionKey(condition.key);
    if ('fault' in key) report(`${pointer}/key`, key.fault);
    else if (asked.has(key.header)) {
      report(`${pointer}/key`, `${condition.key} is asked twice`, 'put all the values into one condition');
    } else asked.add(key.header);
    for (const [place, value] of condition.in.entries()) {
      const fault = valueFault(value);
      if (fault) report(`${pointer}/in/${place}`, `value ${show(value)}: ${fault}`);
    }
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

function whereIs({ origin }: LocatedResource): string {
  if (!origin) return '';
  const at = positionOf(origin, '');
  return `; the other is at ${origin.file}${at ? `:${at.line}:${at.column}` : ''}`;
}

function show(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text);
}

// docs/analyze.md from the table of codes.
import { findingCodes } from '#routing/tools';
import { cell } from './errors-page.ts';

export function analyzePage(): string {
  const rows = Object.entries(findingCodes).map(([code, { severity, means, hint, ...more }]) => {
    const needs = 'needs' in more ? 'the running mesh' : 'the files';
    return `| ${code} | ${severity} | ${cell(means)} | ${cell(hint)} | ${needs} |`;
  });
  return `# What \`postern analyze\` finds

\`postern analyze\` looks at clusters, virtual services and policies, in files or in force, for what is in order by itself and still does not do what
somebody seems to want. It changes nothing. A code never changes its meaning and is never used again. An *error* would be refused or cannot work; a
*warning* does not do what it seems to be for; a *note* is worth knowing. Where anything would be refused (PT001), only that is said. What needs
the running mesh is looked for when \`postern analyze\` asks the control plane. Findings about the rules of policies are those of \`postern policy lint\`
([policy.md](policy.md)).

Made by \`npm run docs\`; a test compares.

| Code | Severity | Means | What to do | From |
|---|---|---|---|---|
${rows.join('\n')}
`;
}

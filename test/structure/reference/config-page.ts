// docs/config.md from the settings of every process and the schemas of every resource kind.

import type { JsonSchema } from '#base/schema';
import { factsOf, gatewaySettings, type Settings, serverSettings, sidecarSettings } from '#config';
import { gatewaySchema } from '#config/gateway';
import { limitBounds } from '#proxy/limits';
import { resourceSchemas } from '#wire';
import { cell } from './errors-page.ts';

const processes: readonly (readonly [string, Settings])[] = [
  ['postern server', serverSettings],
  ['postern sidecar', sidecarSettings],
  ['postern gateway', gatewaySettings],
];

export function configPage(): string {
  return `# Configuration

A setting is a flag, else a \`POSTERN_*\` variable, else a key of the file given with \`--config\` (YAML or JSON), else its default. Unknown keys are refused,
and all problems are reported at once. What begins with \`unsafe-\` loosens something. \`--home\` (\`POSTERN_HOME\`, default \`~/.postern\`) says where state lives.

Made by \`npm run docs\`; a test compares.

${processes.map(([name, settings]) => settingsSection(name, settings)).join('\n')}
## Limits

The bounds of a sidecar's data plane: times in milliseconds, sizes in bytes. \`--limit NAME=N\`, or the map \`limits\` in a file. Each one that bites is counted in
\`postern_limits_total\`. Those of the whole process (connections, peerConnections, exchanges, handshakes, processBytes, poolConnections, poolPending, refusalsPerSecond)
are divided among \`--workers\`, and each gets at least the least.

| Name | Default | At least | Meaning |
|---|---|---|---|
${Object.entries(limitBounds)
  .map(
    ([name, { default: usual, least = 1, description }]) =>
      `| \`${name}\` | ${usual} | ${least} | ${cell(description)} |`,
  )
  .join('\n')}

# The file of a gateway

What \`postern gateway --config FILE\` serves (docs/gateway.md). YAML or JSON; unknown keys are refused with their place, and so is a file with any problem, as a whole. It is
read again when it changes, and so are the certificates that it names.

| Key | Type | Required | Meaning |
|---|---|---|---|
${fieldsOf(gatewaySchema as JsonSchema, '').join('\n')}

# Resources

Applied with \`postern apply -f FILE|DIR\`: YAML or JSON, several documents in a file if you like. All or nothing; unknown keys are refused with their place.

${Object.entries(resourceSchemas)
  .map(([kind, schema]) => resourceSection(kind, schema as JsonSchema))
  .join('\n')}`;
}

function settingsSection(name: string, settings: Settings): string {
  const rows = factsOf(settings).map(({ key, flag, variable, value, kind, description, default: fallback, secret }) => {
    const shown = kind === 'switch' ? `--${flag}` : `--${flag} ${value}`;
    const otherwise = fallback === undefined ? '' : `\`${JSON.stringify(fallback)}\``;
    const text = `${description}${secret ? ' (secret: never printed)' : ''}${kind === 'pairs' ? '; in a file a map' : ''}`;
    return `| \`${shown}\` | \`${variable}\` | \`${key}\` | ${otherwise} | ${cell(text)} |`;
  });
  return `## ${name}\n\n| Flag | Variable | Key in a file | Default | Meaning |\n|---|---|---|---|---|\n${rows.join('\n')}\n`;
}

function resourceSection(kind: string, schema: JsonSchema): string {
  const rows = fieldsOf(schema, '');
  return `## ${kind}\n\n| Key | Type | Required | Meaning |\n|---|---|---|---|\n${rows.join('\n')}\n`;
}

function fieldsOf(schema: JsonSchema, prefix: string): string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const key = `${prefix}${name}`;
    const required = schema.required?.includes(name) ? 'yes' : '';
    const fallback = field.default === undefined ? '' : ` (default \`${String(field.default)}\`)`;
    const row = `| \`${key}\` | ${cell(typeOf(field))} | ${required} | ${cell(`${field.description ?? field.title ?? ''}${fallback}`)} |`;
    // Limits have a table of their own.
    if (name === 'limits') return [row];
    const inner = field.items?.properties
      ? fieldsOf(field.items, `${key}[].`)
      : field.properties
        ? fieldsOf(field, `${key}.`)
        : [];
    return [row, ...inner];
  });
}

function typeOf(field: JsonSchema): string {
  if (field.const !== undefined) return `\`${String(field.const)}\``;
  if (field.enum) return field.enum.map((value) => `\`${String(value)}\``).join(' or ');
  if (field.anyOf) return field.anyOf.map(typeOf).join(' or ');
  if (field.type === 'array')
    return `list of ${field.items?.properties ? 'maps' : field.items ? typeOf(field.items) : 'anything'}`;
  return (
    { object: 'map', integer: 'whole number', boolean: 'true or false' }[field.type as string] ??
    field.type ??
    'anything'
  );
}

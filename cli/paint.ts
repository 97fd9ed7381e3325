// Colour and harmless text: what may reach a terminal. Nothing that others wrote can move the cursor or hide words.

export type Tone = 'good' | 'warn' | 'bad' | 'dim' | 'bold';
export type Paint = (tone: Tone, text: string) => string;

const esc = String.fromCharCode(27);
const codes: Readonly<Record<Tone, string>> = { good: '32', warn: '33', bad: '31', dim: '2', bold: '1' };
const colour = `${esc}\\[[0-9;]{0,12}m`;
// Controls but tab and line feed, and the marks that reorder or hide text (Unicode TR 36).
const unsafe =
  '[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u061c\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u2069\\ufeff]';
const unsafeOrColour = new RegExp(`${colour}|${unsafe}`, 'gu');
const unsafeOrBreak = new RegExp(`${unsafe}|[\\t\\n]`, 'gu');

export function createPaint(coloured: boolean): Paint {
  return coloured ? (tone, text) => `${esc}[${codes[tone]}m${text}${esc}[0m` : (_, text) => text;
}

/** Text in which only line feeds, tabs and (when `coloured`) colours are left of the control characters; the rest is shown escaped. */
export function cleanText(text: string, coloured: boolean): string {
  return text.replace(unsafeOrColour, (found) =>
    coloured && found.length > 1 ? found : found.length > 1 ? '' : shown(found),
  );
}

/** The same for one line: line feeds and tabs are shown escaped too. */
export function cleanLine(text: string): string {
  return text.replace(unsafeOrBreak, shown);
}

function shown(character: string): string {
  if (character === '\n') return '\\n';
  if (character === '\t') return '\\t';
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

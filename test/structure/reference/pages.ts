// Every page of the reference, by path, as the code says that it should be.
import { analyzePage } from './analyze-page.ts';
import { cliPage } from './cli-page.ts';
import { configPage } from './config-page.ts';
import { errorsPage } from './errors-page.ts';
import { metricsPage } from './metrics-page.ts';

export const pages: Readonly<Record<string, () => string | Promise<string>>> = {
  'docs/analyze.md': analyzePage,
  'docs/cli.md': cliPage,
  'docs/config.md': configPage,
  'docs/errors.md': errorsPage,
  'docs/metrics.md': metricsPage,
};

/** One line feed at the end, none of the blanks that editors take away. */
export async function renderPage(path: string): Promise<string> {
  const text = await pages[path]!();
  return `${text.replace(/[ \t]+$/gm, '').trimEnd()}\n`;
}

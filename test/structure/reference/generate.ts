// `npm run docs`: writes the reference pages. Running it twice changes nothing.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../sources.ts';
import { pages, renderPage } from './pages.ts';

for (const path of Object.keys(pages)) {
  writeFileSync(join(root, path), await renderPage(path));
  process.stdout.write(`${path}\n`);
}

// `npm run test:peers`: Postern with real programs of others. Finds or installs them, then runs test/peers/**/*.peers.ts.
// A program that cannot be had ends the run with a failure that names it.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { pathOf, programs, provide } from './programs.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const say = (text: string): void => void process.stdout.write(`${text}\n`);

const missing = provide(programs, say);
for (const { name } of programs) say(`${name.padEnd(8)} ${pathOf(name) ?? 'missing'}`);
if (missing.length > 0) {
  const packages = missing.flatMap((program) => program.packages).join(' ');
  say(`these programs are missing and could not be installed: ${missing.map(({ name }) => name).join(', ')}`);
  say(`on Debian, as root: apt-get install ${packages}`);
  say(`0 passed, ${missing.length} failed`);
  process.exitCode = 1;
} else {
  const vitest = fileURLToPath(new URL('../../node_modules/vitest/vitest.mjs', import.meta.url));
  const config = fileURLToPath(new URL('./vitest.config.ts', import.meta.url));
  const args = [vitest, 'run', '--root', root, '--config', config, ...process.argv.slice(2)];
  process.exitCode = spawnSync(process.execPath, args, { stdio: 'inherit', cwd: root }).status ?? 1;
}

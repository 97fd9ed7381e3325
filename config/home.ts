// Where state lives: `--home`, else POSTERN_HOME, else ~/.postern. Never makes anything.
import { userInfo } from 'node:os';
import { join, resolve } from 'node:path';
import type { Environment } from './environment.ts';
import { fail } from './errors.ts';

/** An absolute path; throws `CONFIG_NO_HOME` when nothing says where home is. */
export function resolveHome(flag: string | undefined, env: Environment): string {
  const chosen = flag ?? env.POSTERN_HOME;
  return chosen ? resolve(chosen) : join(env.HOME ?? homeOfUser(), '.postern');
}

function homeOfUser(): string {
  try {
    const { homedir } = userInfo();
    if (homedir) return homedir;
  } catch {
    // A user id without an entry in the user database: containers do that.
  }
  throw fail('CONFIG_NO_HOME');
}

#!/usr/bin/env node
// Runs Postern with a Node that can: this one when it is new enough, else the pinned one, else says what is missing.
// Plain JavaScript that Node 12.20 reads, so no newer syntax and no TypeScript here.
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const oldest = 24;
const here = dirname(fileURLToPath(import.meta.url));

if (Number(process.versions.node.split('.')[0]) >= oldest) start();
else import('node:child_process').then(restart);

function start() {
  const module = process.getBuiltinModule('node:module');
  // Stripping types takes 160 ms and 40 MB for every process without the cache.
  if (module.enableCompileCache && !process.env.NODE_DISABLE_COMPILE_CACHE) {
    module.enableCompileCache(process.env.NODE_COMPILE_CACHE || cacheFolder());
  }
  const source = join(here, 'main.ts');
  import(existsSync(source) ? './main.ts' : './main.js');
}

function restart({ spawn }) {
  const candidates = [process.env.POSTERN_NODE, join(here, '..', 'node_modules', '.bin', 'node')];
  const node = candidates.find((path) => path && existsSync(path));
  if (!node || process.env.POSTERN_RESTARTED) return refuse();
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: 'inherit',
    // A second time must not come back here: the chosen Node is too old as well.
    env: { ...process.env, POSTERN_NODE: '', POSTERN_RESTARTED: '1' },
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR2']) {
    process.on(signal, () => child.kill(signal));
  }
  child.on('error', (error) => {
    console.error(`error: ${node} cannot be run: ${error.message}`);
    process.exitCode = 1;
  });
  child.on('exit', (code, signal) => {
    if (signal === null) {
      process.exitCode = code;
      return;
    }
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}

function refuse() {
  console.error(`error: Postern needs Node ${oldest} or newer, and this is Node ${process.versions.node}
hint: in a clone run npm ci (npm 7 or newer), which brings the right Node along; elsewhere install Node ${oldest} or newer,
      or set POSTERN_NODE to the path of one`);
  process.exitCode = 1;
}

function cacheFolder() {
  const home = process.env.HOME && join(homedir(), '.cache');
  const base = process.env.XDG_CACHE_HOME || home;
  // A folder that is not there is never made from nothing: below /proc Node would try for ever.
  return base && existsSync(dirname(base)) ? join(base, 'postern', 'compile') : undefined;
}

// Starting takes several megabytes that serving does not need: sources, compiled start code, room that the young generation grew to. Said once, at the
// right moment, V8 gives them back at once; left alone it keeps them for as long as the process is idle. Each thread has a heap of its own.

/** Asks V8 for the collection that it makes when memory is short. Takes some tens of milliseconds; call it before anybody is served. */
export function giveBackMemory(): void {
  // Not imported: the namespaces of these modules load others.
  const { setFlagsFromString } = process.getBuiltinModule('node:v8');
  const { runInNewContext } = process.getBuiltinModule('node:vm');
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  setFlagsFromString('--no-expose-gc');
  if (typeof collect === 'function') collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}

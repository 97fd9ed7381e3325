// Starting takes several megabytes that serving does not need: sources, compiled start code, room that the young generation grew to. Said once, at the
// right moment, V8 gives them back at once; left alone it keeps them for as long as the process is idle. Each thread has a heap of its own.

/** Asks V8 for the collection that it makes when memory is short. Takes some tens of milliseconds; call it before anybody is served. */
export function giveBackMemory(): void {
  const hide = exposeCollection();
  collectIfExposed();
  hide();
}

/** Lets threads collect until the result is called. The switch is the process's, so only the main thread may turn it. */
export function exposeCollection(): () => void {
  // Not imported: the namespaces of these modules load others.
  const { setFlagsFromString } = process.getBuiltinModule('node:v8');
  setFlagsFromString('--expose-gc');
  return () => setFlagsFromString('--no-expose-gc');
}

/** The same for this thread's heap, where the main thread lets it. */
export function collectIfExposed(): void {
  const { runInNewContext } = process.getBuiltinModule('node:vm');
  const collect: unknown = runInNewContext('globalThis.gc');
  if (typeof collect === 'function') collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}

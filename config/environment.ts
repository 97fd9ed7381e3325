// What the environment says, read once. The only reader of process.env; everybody else is handed the result.

/** Variables by name; empty ones count as absent. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** A frozen copy of the environment as it is now. */
export function readEnvironment(): Environment {
  return Object.freeze(Object.fromEntries(Object.entries(process.env).filter(([, value]) => value !== '')));
}

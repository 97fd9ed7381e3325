// Waits for something that no event announces, such as what another process writes down; says what it saw last when it gives up.
export async function eventually<T>(
  ask: () => T | Promise<T>,
  good: (answer: T) => boolean,
  { withinMs = 25_000, everyMs = 50 } = {},
): Promise<T> {
  const end = performance.now() + withinMs;
  for (;;) {
    const answer = await ask();
    if (good(answer)) return answer;
    if (performance.now() > end) throw new Error(`still not so: ${JSON.stringify(answer)?.slice(0, 2_000)}`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

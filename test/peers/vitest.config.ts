// The tests with real programs, apart from `npm test`, which needs nothing but npm.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    name: 'peers',
    pool: 'forks',
    include: ['test/peers/**/*.peers.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    fileParallelism: false,
  },
});

// Which tests belong to which project: structure first, then units, then the mesh of real sockets.
import { defineConfig } from 'vitest/config';

// Nothing is measured by these: they end a test that hangs, also on a machine that others crowd.
const shared = { pool: 'forks' as const, testTimeout: 90_000, hookTimeout: 90_000 };

/** Memory that is used after it was given back shows (`proxy/slabs.ts`). */
const spoil = 'test/helpers/spoil.ts';

export default defineConfig({
  test: {
    ...shared,
    projects: [
      { extends: true, test: { name: 'structure', include: ['test/structure/**/*.test.ts'] } },
      {
        extends: true,
        test: {
          name: 'unit',
          setupFiles: spoil,
          include: ['test/{base,spiffe,ca,policy,wire,audit,config,cli,control,routing,proxy}/**/*.test.ts'],
        },
      },
      { extends: true, test: { name: 'mesh', setupFiles: spoil, include: ['test/{mesh,fault,hostile}/**/*.test.ts'] } },
    ],
  },
});

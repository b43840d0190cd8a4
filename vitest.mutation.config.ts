import { defineConfig } from 'vitest/config'

/** The tests that `scripts/mutation.ts` chose for what it mutates; see there. */
export default defineConfig({
  test: {
    globalSetup: ['test/support/temp-folder.ts'],
    include: (process.env['MUTATION_TESTS'] ?? '').split(' '),
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
})

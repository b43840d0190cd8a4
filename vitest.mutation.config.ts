import { defineConfig } from 'vitest/config'

/** Tests that `scripts/mutation.ts` chose for what it mutates, in a copy of the tree; see there. */
export default defineConfig({
  test: {
    runner: 'scripts/mutation-runner.ts',
    globalSetup: ['test/support/temp-folder.ts'],
    setupFiles: ['scripts/mutation-setup.ts'],
    include: (process.env['MUTATION_TESTS'] ?? 'none').split(' '),
    reporters: [{}],
    maxWorkers: 1,
    passWithNoTests: true,
    dangerouslyIgnoreUnhandledErrors: true,
    testTimeout: Number(process.env['MUTATION_TIMEOUT_MS'] ?? 60_000),
    hookTimeout: 120_000,
  },
})

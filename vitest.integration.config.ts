import { defineConfig } from 'vitest/config'

/** Checks against real servers, started by `.ci/run` or by hand; see CONTRIBUTING.md. */
export default defineConfig({
  test: {
    globalSetup: ['test/support/temp-folder.ts'],
    setupFiles: ['test/support/own-temp-folder.ts'],
    include: ['test/integration/**/*.test.ts', 'test/application/**/*.test.ts'],
    testTimeout: 300_000,
    hookTimeout: 120_000,
    // They share one PostgreSQL, whose connections are not counted by cores.
    maxWorkers: 2,
  },
})

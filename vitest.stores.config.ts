import { defineConfig } from 'vitest/config'

/** The journey on S3 servers that others wrote: `npm run test:stores`. */
export default defineConfig({
  test: {
    globalSetup: ['test/support/temp-folder.ts'],
    include: ['test/stores/**/*.test.ts'],
    testTimeout: 600_000,
    hookTimeout: 120_000,
    fileParallelism: false,
  },
})

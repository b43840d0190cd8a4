import { defineConfig } from 'vitest/config'

/** `npm run test:campaign`: random lives of a library; see test/campaign. */
export default defineConfig({
  test: {
    globalSetup: ['test/support/temp-folder.ts'],
    setupFiles: ['test/support/own-temp-folder.ts'],
    include: ['test/campaign/**/*.test.ts'],
    hookTimeout: 120_000,
  },
})

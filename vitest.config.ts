import { defineConfig } from 'vitest/config'

/** What `npm test` runs: needs nothing but Node and npm. */
export default defineConfig({
  test: {
    globalSetup: ['test/support/temp-folder.ts'],
    setupFiles: ['test/support/own-temp-folder.ts'],
    include: ['test/unit/**/*.test.ts', 'test/contract/**/*.test.ts', 'test/e2e/**/*.test.ts'],
    // By default one core is left to a watcher and its editor: on two cores that is half of the machine.
    maxWorkers: '100%',
    // What every file loads, and PGlite compiled, is there for the next file: a quarter of the time.
    isolate: false,
    // A limit is for what hangs: under load a test may take ten times as long as on a quiet machine.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    // See keepWasmCode in src/heap.ts: here also what runs before it is called, in threads that begin and end all the time.
    execArgv: ['--no-wasm-code-gc'],
  },
})

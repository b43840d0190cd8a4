/**
 * How fast `import` is and what memory it takes, by number of files:
 *
 *     TEST_POSTGRES_URL=… node bench/import.ts 10000 40000
 *
 * Files are of 1.5 KB, so that what is measured is the work for a file, not the disk.
 */
import { randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { migrateUp } from '../src/db/migrate.ts'
import { importFolder } from '../src/import/import.ts'
import { JsonReporter } from '../src/report/json.ts'
import { pgliteTestDatabase, postgresTestDatabase } from '../test/support/database.ts'

const server = process.env['TEST_POSTGRES_URL']
const sound = readFileSync(new URL('../test/fixtures/formats/bare.mp3', import.meta.url))
const silent = { write: () => true }

for (const count of process.argv.slice(2).map(Number)) {
  const root = mkdtempSync(join(tmpdir(), 'autodj-bench-import-'))
  const database = server ? await postgresTestDatabase(server) : await pgliteTestDatabase()
  const db = await database.open()
  try {
    await migrateUp(db)
    for (let i = 0; i < count; i++) {
      const folder = join(root, `Artist ${i % 500}`)
      if (i < 500) mkdirSync(folder)
      writeFileSync(join(folder, `Title ${i}.mp3`), Buffer.concat([sound, Buffer.from(String(i))]))
    }
    for (const what of ['first', 'again']) {
      let peak = 0
      const watch = setInterval(() => {
        peak = Math.max(peak, process.memoryUsage().rss)
      }, 100)
      const begun = performance.now()
      const never = new AbortController().signal
      const summary = await importFolder({
        knex: db.knex,
        root,
        start: root,
        dryRun: false,
        concurrency: 4,
        runId: undefined,
        stopping: never,
        signal: never,
        report: new JsonReporter({
          stdout: silent,
          stderr: silent,
          quiet: true,
          verbose: false,
          now: Date.now,
        }),
        newId: randomUUID,
      })
      clearInterval(watch)
      const seconds = (performance.now() - begun) / 1000
      console.log(
        `${count} files, ${what}: ${seconds.toFixed(1)} s, ${Math.round(count / seconds)} files/s, ` +
          `${Math.round(peak / 2 ** 20)} MB resident at most, ${summary.new} new, ${summary.known} known`,
      )
    }
  } finally {
    await db.close()
    await database.drop()
    rmSync(root, { recursive: true })
  }
}

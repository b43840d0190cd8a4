/**
 * How fast `import` is and what memory it takes, by number of files:
 *
 *     TEST_POSTGRES_URL=… npm run bench:import [-- 10000 100000]
 *
 * Files are of 1.5 KB, so that what is measured is the work for a file, not the disk. Each number of files is imported
 * for the first time; again, with nothing to do; and after every folder was renamed, so that each row must find its
 * file: once by its content, and once by its name alone, the ledger forgotten and the content of each file another.
 * Each in a process of its own, for its peak of resident memory.
 */
import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { plainFolder } from '../src/core/audio-path.ts'
import { migrateUp } from '../src/db/migrate.ts'
import { openDatabase } from '../src/db/open.ts'
import { importFolder } from '../src/import/import.ts'
import { JsonReporter } from '../src/report/json.ts'
import { pgliteTestDatabase, postgresTestDatabase } from '../test/support/database.ts'

interface Measured {
  seconds: number
  peakMiB: number
  made: number
  relinked: number
  known: number
}

if (process.argv[2] === 'one') {
  process.stdout.write(JSON.stringify(await importOnce(process.argv[3]!, process.argv[4]!)))
  process.exit()
}

const counts = process.argv.slice(2).map(Number)
const [small, large] = counts.length === 2 ? (counts as [number, number]) : [10_000, 100_000]
const figures = new Map<string, Measured>()
for (const count of [small, large]) await measure(count)

const rate = (count: number, what: string): number => figures.get(`${count} ${what}`)!.seconds / count
const results = ['first', 'again', 'moved', 'renamed'].flatMap(what => {
  const growth = rate(large, what) / rate(small, what)
  const memory = figures.get(`${large} ${what}`)!.peakMiB - figures.get(`${small} ${what}`)!.peakMiB
  return [
    {
      what: `${what}: time a file, ${large} / ${small}`,
      value: round(growth),
      bar: '<= 1.2',
      holds: growth <= 1.2,
    },
    { what: `${what}: MiB more at ${large}`, value: Math.round(memory), bar: '<= 48', holds: memory <= 48 },
  ]
})
console.log(JSON.stringify({ bench: 'import', results }))

/** @param url the database @param root the folder */
async function importOnce(url: string, root: string): Promise<Measured> {
  const silent = { write: () => true }
  const db = await openDatabase(url, { applicationName: 'autodj bench' })
  const begun = performance.now()
  const never = new AbortController().signal
  const report = new JsonReporter({
    stdout: silent,
    stderr: silent,
    quiet: true,
    verbose: false,
    now: Date.now,
  })
  const summary = await importFolder({
    knex: db.knex,
    folder: plainFolder(root),
    start: root,
    dryRun: false,
    concurrency: 4,
    runId: undefined,
    stopping: never,
    signal: never,
    report,
    newId: randomUUID,
  })
  const seconds = (performance.now() - begun) / 1_000
  await db.close()
  const peakMiB = process.resourceUsage().maxRSS / 1_024
  return { seconds, peakMiB, made: summary.new, relinked: summary.relinked, known: summary.known }
}

async function measure(count: number): Promise<void> {
  const sound = readFileSync(new URL('../test/fixtures/formats/bare.mp3', import.meta.url))
  const root = mkdtempSync(join(tmpdir(), 'autodj-bench-import-'))
  const server = process.env['TEST_POSTGRES_URL']
  const database = server ? await postgresTestDatabase(server) : await pgliteTestDatabase()
  try {
    const prepare = async (sql?: string): Promise<void> => {
      const db = await database.open()
      if (sql === undefined) await migrateUp(db)
      else await db.knex.raw(sql)
      await db.close()
    }
    await prepare()
    for (let i = 0; i < count; i++) {
      const folder = join(root, `Artist ${i % 500}`)
      if (i < 500) mkdirSync(folder)
      writeFileSync(join(folder, `Title ${i}.mp3`), Buffer.concat([sound, Buffer.from(String(i))]))
    }
    run('first', { made: count })
    run('again', { known: count })
    for (const folder of readdirSync(root)) renameSync(join(root, folder), join(root, `${folder}!`))
    run('moved', { relinked: count })
    for (const folder of readdirSync(root)) renameSync(join(root, folder), join(root, folder.slice(0, -1)))
    for (const path of readdirSync(root, { recursive: true }) as string[]) {
      if (path.endsWith('.mp3')) appendFileSync(join(root, path), 'x')
    }
    await prepare('truncate autodj_ledger.files')
    run('renamed', { relinked: count })
  } finally {
    await database.drop()
    rmSync(root, { recursive: true })
  }

  function run(what: string, expected: Partial<Measured>): void {
    const { stdout, status, stderr } = spawnSync(
      process.execPath,
      [fileURLToPath(import.meta.url), 'one', database.url, root],
      { encoding: 'utf8' },
    )
    if (status !== 0) throw new Error(stderr)
    const measured = JSON.parse(stdout) as Measured
    for (const [name, value] of Object.entries(expected)) {
      if (measured[name as keyof Measured] !== value) throw new Error(`${what}: ${stdout}`)
    }
    figures.set(`${count} ${what}`, measured)
    const { seconds, peakMiB } = measured
    console.log(
      `${count} files, ${what}: ${seconds.toFixed(1)} s, ${Math.round(count / seconds)} files/s, ${Math.round(peakMiB)} MiB`,
    )
  }
}

function round(value: number): number {
  return Math.round(value * 100) / 100
}

/**
 * How long `reconcile` takes over 100,000 and 1,000,000 rows against as many objects, and in how much memory:
 *
 *     TEST_POSTGRES_URL=… npm run bench:reconcile
 *
 * Rows and ledger are in PostgreSQL. The listing is generated, in pages of 1,000, behind the ObjectStore port, so that
 * what is measured is reconcile and its database, not a network. In every 100,000 keys one object is missing, one is
 * an orphan, one has another size, one has moved and two hold the same bytes; all of them have to be found.
 * The run that is measured is a process of its own: its peak memory is the whole of it, Node.js included.
 */

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { plainFolder } from '../src/core/audio-path.ts'
import { compareUtf8 } from '../src/core/utf8-order.ts'
import { openDatabase } from '../src/db/open.ts'
import { reconcile } from '../src/reconcile/reconcile.ts'
import { newTally } from '../src/reconcile/tally.ts'
import type { ObjectEntry, ObjectHead, ObjectStore } from '../src/storage/store.ts'

const bucket = 'bench'
const size = 5_000_000
const period = 100_000
const pageSize = 1_000
const day = 86_400_000

interface Measured {
  seconds: number
  cpuSeconds: number
  peakMB: number
  found: Record<string, number>
}

async function main(): Promise<void> {
  const server = process.env['TEST_POSTGRES_URL']
  if (!server) throw new Error('set TEST_POSTGRES_URL: the figures are for PostgreSQL')
  const small = await run(server, 100_000)
  const large = await run(server, 1_000_000)
  const growth = large.seconds / small.seconds / 10
  const cpuGrowth = large.cpuSeconds / small.cpuSeconds / 10
  const round = (value: number): number => Math.round(value * 100) / 100
  const result = (what: string, value: number, bar: string, holds: boolean) => ({
    what,
    value: round(value),
    bar,
    holds,
  })
  const kinds = ['missing-object', 'orphan-object', 'size-differs', 'moved', 'duplicate-content']
  const wrong = kinds.filter(kind => large.found[kind] !== 10 || small.found[kind] !== 1).length
  const results = [
    result('1,000,000 rows against 1,000,000 objects, s', large.seconds, '< 15', large.seconds < 15),
    result('of it CPU of the process, s', large.cpuSeconds, '< 11', large.cpuSeconds < 11),
    result('peak memory of the process, MB', large.peakMB, '< 300', large.peakMB < 300),
    result('100,000 rows against 100,000 objects, s', small.seconds, '< 10', small.seconds < 10),
    result('peak memory at 100,000, MB', small.peakMB, '< 300', small.peakMB < 300),
    result('time at 1,000,000 by ten times that at 100,000', growth, '<= 1.25', growth <= 1.25),
    result('the same in CPU time', cpuGrowth, '<= 1.25', cpuGrowth <= 1.25),
    result('planted differences not found, or found twice', wrong, '= 0', wrong === 0),
  ]
  console.log(JSON.stringify({ bench: 'reconcile', results }))
}

/** Three runs over one library; the one whose time is the median. */
async function run(server: string, count: number): Promise<Measured> {
  // Loaded here, so that the process that is measured does not hold it.
  const { postgresTestDatabase } = await import('../test/support/database.ts')
  const database = await postgresTestDatabase(server)
  try {
    await fill(database.url, count)
    const runs: Measured[] = []
    for (let round = 0; round < 3; round += 1) {
      const args = [fileURLToPath(import.meta.url), 'measure', database.url, String(count)]
      runs.push(JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })) as Measured)
      console.log(`${count} rows: ${JSON.stringify(runs.at(-1))}`)
    }
    return runs.sort((a, b) => a.seconds - b.seconds)[1] as Measured
  } finally {
    await database.drop()
  }
}

async function measure(databaseUrl: string, count: number): Promise<Measured> {
  const folder = mkdtempSync(path.join(tmpdir(), 'autodj-bench-reconcile-'))
  const database = await openDatabase(databaseUrl, { applicationName: 'autodj bench' })
  try {
    const tally = newTally()
    const before = process.cpuUsage()
    const startedAt = performance.now()
    const lines = reconcile(
      { knex: database.knex, store: generatedStore(count) },
      {
        prefix: 'audio/',
        quarantinePrefix: 'quarantine/',
        audioFolder: plainFolder(folder),
        disk: false,
        deep: 0,
        head: 'changed',
        concurrency: 32,
        force: false,
        tempFolder: folder,
      },
      tally,
    )
    for await (const _ of lines) {
      // counted by the tally
    }
    const seconds = (performance.now() - startedAt) / 1000
    const { user, system } = process.cpuUsage(before)
    if (tally.rows < count - count / period) throw new Error(`only ${tally.rows} rows were seen`)
    const { maxRSS } = process.resourceUsage()
    return { seconds, cpuSeconds: (user + system) / 1e6, peakMB: (maxRSS * 1024) / 1e6, found: tally.found }
  } finally {
    await database.close()
    rmSync(folder, { recursive: true })
  }
}

/* ── The library: a function of a number, the same in SQL and here ────────────────────────────────────────────── */

const keyOf = (index: number): string =>
  `audio/Artist ${String(Math.floor(index / 20)).padStart(7, '0')}/Título ${String(index).padStart(9, '0')}_${etagOf(index).slice(-8)}.mp3`

/** One pair in every period holds the same bytes. */
const etagOf = (index: number): string =>
  (index % period === 5 ? index + 1 : index).toString(16).padStart(32, '0')

async function fill(databaseUrl: string, count: number): Promise<void> {
  const database = await openDatabase(databaseUrl, { applicationName: 'autodj bench' })
  try {
    const { migrateUp } = await import('../src/db/migrate.ts')
    await migrateUp(database)
    const { knex } = database
    const key = `'audio/Artist ' || lpad((i / 20)::text, 7, '0') || '/Título ' || lpad(i::text, 9, '0') || '_' ||
      right(lpad(to_hex(case when i % ${period} = 5 then i + 1 else i end), 32, '0'), 8) || '.mp3'`
    const hex = (length: number): string =>
      `lpad(to_hex(case when i % ${period} = 5 then i + 1 else i end), ${length}, '0')`
    for (let from = 0; from < count; from += period) {
      const series = `generate_series(${from}, ${Math.min(count, from + period) - 1}) as i`
      await knex.raw(
        `insert into tracks (id, spotify_id, title, artist, file_source, file_size, s3_object_key)
         select md5(i::text)::uuid, 'bench' || i, 'Título ' || i, 'Artist ' || i / 20, 'S3',
           ${size} + (case when i % ${period} = 3 then 1 else 0 end), ${key}
         from ${series} where i % ${period} <> 2`,
      )
      await knex.raw(
        `insert into autodj_ledger.objects (bucket, key, size, sha256, etag, content_type, uploaded_at)
         select '${bucket}', ${key}, ${size}, ${hex(64)}, ${hex(32)}, 'audio/mpeg', now() from ${series}`,
      )
    }
    await knex.raw('analyze tracks')
    await knex.raw('analyze autodj_ledger.objects')
  } finally {
    await database.close()
  }
}

/** What reconcile asks of a store, answered out of nothing. */
function generatedStore(count: number): ObjectStore {
  const lastModified = new Date(Date.now() - day)
  // Sorts behind its old key and before the next one.
  const listedKey = (index: number): string => (index % period === 4 ? `${keyOf(index)}.moved` : keyOf(index))
  const entry = (index: number): ObjectEntry => ({
    key: listedKey(index),
    size,
    etag: etagOf(index),
    lastModified,
  })
  const isListed = (index: number): boolean => index % period !== 1

  /** The first index whose key comes after `key`. */
  const indexAfter = (key: string): number => {
    let low = 0
    let high = count
    while (low < high) {
      const middle = (low + high) >> 1
      if (compareUtf8(listedKey(middle), key) <= 0) low = middle + 1
      else high = middle
    }
    return low
  }
  async function* list({
    prefix = '',
    startAfter,
  }: {
    prefix?: string
    startAfter?: string
  }): AsyncGenerator<ObjectEntry[]> {
    if (!prefix.startsWith('audio/')) return // nothing has been removed
    let page: ObjectEntry[] = []
    for (let index = startAfter === undefined ? 0 : indexAfter(startAfter); index < count; index += 1) {
      if (isListed(index)) page.push(entry(index))
      if (page.length < pageSize) continue
      // As an answer from the network would, it comes in a later turn.
      await new Promise(resolve => setImmediate(resolve))
      yield page
      page = []
    }
    if (page.length > 0) yield page
  }
  async function head(key: string): Promise<ObjectHead | undefined> {
    const index = indexAfter(key) - 1
    if (index < 0 || listedKey(index) !== key || !isListed(index)) return undefined
    return { ...entry(index), metadata: {}, checksums: {}, contentType: 'audio/mpeg' }
  }
  const versioning = async () => 'Off' as const
  return { bucket, list, head, versioning } as unknown as ObjectStore
}

const [mode, url, amount] = process.argv.slice(2)
if (mode === 'measure') console.log(JSON.stringify(await measure(url as string, Number(amount))))
else await main()

/**
 * How long `reconcile` takes over 100,000 and 1,000,000 rows against as many objects, and in how much memory; and over
 * 100,000, the built program beside what people do by hand, in turn:
 *
 *     TEST_POSTGRES_URL=… npm run bench:reconcile -- [--rounds 3] [--only scale,peers] [--rows 100000,1000000]
 *
 * Rows and ledger are in PostgreSQL. For `scale` the listing is generated, in pages of 1,000, behind the ObjectStore port,
 * so that what is measured is reconcile and its database, not a network. In every 100,000 keys one object is missing, one is
 * an orphan, one has another size, one has moved and two hold the same bytes; all of them have to be found.
 * The run that is measured is a process of its own: its peak memory is the whole of it, Node.js included.
 *
 * For `peers` the listing comes as XML over a socket (scale/bucket.ts). By hand: the keys that psql(1) copies and those that
 * `s5cmd ls` or `aws s3 ls` lists, sorted, and what comm(1) tells of them; and `rclone check` of sizes, against local files
 * of the same names, as it knows no rows. None of these has heard of checksums.
 */

import { execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { plainFolder } from '../src/core/audio-path.ts'
import { compareUtf8 } from '../src/core/utf8-order.ts'
import { openDatabase } from '../src/db/open.ts'
import { reconcile } from '../src/reconcile/reconcile.ts'
import { newTally } from '../src/reconcile/tally.ts'
import type { ObjectEntry, ObjectHead, ObjectStore } from '../src/storage/store.ts'
import type { Judgements, Measured as WholeProgram } from './peers.ts'

const bucket = 'bench'
const size = 5_000_000
const pageSize = 1_000
const day = 86_400_000

interface Measured {
  seconds: number
  cpuSeconds: number
  peakMB: number
  found: Record<string, number>
}

const { values: options, positionals } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', default: 'scale,peers' },
    rows: { type: 'string', default: '100000,1000000' },
  },
  allowPositionals: true,
})
const [few, many] = options.rows.split(',').map(Number) as [number, number]
/** Keys among which each difference is planted once. */
const period = few

async function main(): Promise<void> {
  const server = process.env['TEST_POSTGRES_URL']
  if (!server) throw new Error('set TEST_POSTGRES_URL: the figures are for PostgreSQL')
  // Loaded here, so that the process that is measured does not hold it.
  const { Judgements } = await import('./peers.ts')
  const judgements = new Judgements('reconcile')
  const wanted = options.only.split(',')
  if (wanted.includes('scale')) await measureScale(server, judgements)
  if (wanted.includes('peers')) await measurePeers(server, judgements)
  judgements.print()
}

async function measureScale(server: string, judgements: Judgements): Promise<void> {
  const small = await run(server, few)
  const large = await run(server, many)
  const times = many / few
  const growth = large.seconds / small.seconds / times
  const cpuGrowth = large.cpuSeconds / small.cpuSeconds / times
  const kinds = ['missing-object', 'orphan-object', 'size-differs', 'moved', 'duplicate-content']
  const wrong = kinds.filter(kind => large.found[kind] !== times || small.found[kind] !== 1).length
  const below = (what: string, value: number, bar: number): void =>
    judgements.add(what, value, `< ${bar}`, value < bar)
  below(`${many} rows against as many objects, s`, large.seconds, 15)
  below('of it CPU of the process, s', large.cpuSeconds, 11)
  below('peak memory of the process, MB', large.peakMB, 300)
  below(`${few} rows against as many objects, s`, small.seconds, 3)
  below(`peak memory at ${few}, MB`, small.peakMB, 300)
  below(`time at ${many} by ${times} times that at ${few}`, growth, 1.25)
  below('the same in CPU time', cpuGrowth, 1.25)
  judgements.add('planted differences not found, or found twice', wrong, '= 0', wrong === 0)
}

/** The whole program and what people do by hand, over one bucket. */
async function measurePeers(server: string, judgements: Judgements): Promise<void> {
  const { postgresTestDatabase } = await import('../test/support/database.ts')
  const { credentials, findPeerPrograms, measureProgram, printComparison, work } = await import('./peers.ts')
  const { fileSize, fillLibrary, keyOf: keyOfLibrary } = await import('./scale/library.ts')
  const { migrateUp } = await import('../src/db/migrate.ts')
  const place = await postgresTestDatabase(server)
  const store = fork(path.join(import.meta.dirname, 'scale', 'bucket.ts'), [String(period)])
  try {
    const [endpoint] = (await once(store, 'message')) as [string]
    const database = await openDatabase(place.url, { applicationName: 'autodj bench' })
    await migrateUp(database)
    await fillLibrary(database.knex, { rows: period, settled: true })
    await database.close()
    const files = path.join(work, 'files')
    for (let index = 0; index < period; index += 1) {
      const file = path.join(files, keyOfLibrary(index))
      if (index % 20 === 0) mkdirSync(path.dirname(file), { recursive: true })
      writeFileSync(file, '')
      truncateSync(file, fileSize)
    }
    const rows = `psql -XAtq "$DATABASE_URL" -c 'copy (select s3_object_key from tracks) to stdout' | LC_ALL=C sort > rows.txt`
    const byHand = (list: string): string[] => [
      'sh',
      '-ec',
      `cd ${work}; ${rows}; ${list} | sed -E 's/^[^ ]+ [^ ]+ +[0-9]+ +//' | LC_ALL=C sort > objects.txt; comm -3 rows.txt objects.txt > found.txt`,
    ]
    const programs = findPeerPrograms()
    const clients = new Map([
      [
        'autodj reconcile',
        [process.execPath, path.join(import.meta.dirname, '..', 'bin', 'autodj.js'), 'reconcile', '-q'],
      ],
    ])
    if (programs.s5cmd !== undefined)
      clients.set(
        's5cmd ls, sort, comm',
        byHand(`${programs.s5cmd} --endpoint-url ${endpoint} ls 's3://bench/*'`),
      )
    if (programs.rclone !== undefined)
      clients.set('rclone check', [
        programs.rclone,
        'check',
        '--size-only',
        '--fast-list',
        ...['--s3-provider', 'Other', '--s3-list-version', '2', '--s3-env-auth', '--s3-endpoint', endpoint],
        path.join(files, 'audio'),
        ':s3:bench/audio',
      ])
    if (programs.aws !== undefined)
      clients.set(
        'aws s3 ls, sort, comm',
        byHand(`${programs.aws} --endpoint-url ${endpoint} s3 ls --recursive s3://bench/`),
      )
    const env = {
      ...credentials,
      DATABASE_URL: place.url,
      S3_BUCKET_NAME: 'bench',
      S3_ENDPOINT: endpoint,
      AUDIO_STORAGE_PATH: files,
    }
    const measured = new Map([...clients.keys()].map(name => [name, [] as WholeProgram[]]))
    for (let round = 0; round < Number(options.rounds); round += 1)
      for (const [name, argv] of clients) measured.get(name)?.push(measureProgram(argv, env))
    printComparison(`${period} rows and objects, listed over a socket; CPU: seconds in all`, 1e9, measured)
    const { middle } = await import('./peers.ts')
    const [ours, ...others] = [...measured].map(([name, runs]) => ({ name, ...middle(runs) }))
    for (const { name, wall } of others)
      judgements.add(`${name}: wall / autodj's`, wall / ours!.wall, '> 1', wall > ours!.wall)
  } finally {
    store.disconnect()
    await place.drop()
  }
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
      const args = [
        fileURLToPath(import.meta.url),
        'measure',
        database.url,
        String(count),
        '--rows',
        options.rows,
      ]
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
        signal: new AbortController().signal,
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

const [mode, url, amount] = positionals
if (mode === 'measure') console.log(JSON.stringify(await measure(url as string, Number(amount))))
else await main()

/**
 * `npm run bench:scale`: what every command takes as the library grows, of time, memory and the database.
 *
 *     TEST_POSTGRES_URL=… npm run bench:scale -- [--rows 10000,100000,1000000] [--only verify,cleanup] [--rounds 1]
 *
 * Rows are made by SQL (scale/library.ts), the bucket and the CDN answer out of nothing (scale/bucket.ts). Two libraries of
 * each size: one that is settled, where no command finds anything to do, and one of which a fifth is local. Commands that
 * change something have a copy of their own. Each runs as a program of its own, built.
 *
 * One more run of each, over the second largest library, has its statements explained: what is executed again and again may
 * not touch more than ten times the rows that come of it. A scan or two in a run may: no index can be assumed on the
 * application's table.
 *
 * Wall time is that of the machine and its load; what the database took of the CPU is less so, if its server runs here and
 * /proc tells (else how long its sessions were busy), and rows that it touched are not: sequential scans and index look-ups,
 * by its own counters. Growth is of what each further row takes, start-up left
 * out: from 100,000 to 1,000,000 by from 10,000 to 100,000, with what is too little to be told from noise counted as none.
 */
import { execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import type { Knex } from 'knex'
import makeKnex from 'knex'
import { migrateUp } from '../src/db/migrate.ts'
import { openDatabase } from '../src/db/open.ts'
import { credentials, Judgements, type Measured, measureProgram, middle, work } from './peers.ts'
import { bucket, fillLibrary } from './scale/library.ts'
import { endOfLog, explainStatements, type StatementTotals, statementsSince } from './scale/statements.ts'

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '10000,100000,1000000' },
    only: { type: 'string', default: '' },
    rounds: { type: 'string', default: '1' },
  },
})
const sizes = values.rows.split(',').map(Number)
const server = process.env['TEST_POSTGRES_URL'] ?? ''
if (server === '') throw new Error('set TEST_POSTGRES_URL: the figures are for PostgreSQL')
const program = path.join(import.meta.dirname, '..', 'bin', 'autodj.js')

interface Case {
  readonly name: string
  readonly argv: readonly string[]
  readonly library: 'settled' | 'mixed'
  /** it changes the database, and has a copy of its own */
  readonly changes?: true
  /** besides 0 */
  readonly exitCodes?: readonly number[]
  /** wall seconds at 1,000,000 rows, at most */
  readonly within?: number
}

const cases: readonly Case[] = [
  { name: 'status', argv: ['status'], library: 'mixed', within: 2 },
  { name: 'upload-local, nothing to do', argv: ['upload-local'], library: 'settled', within: 3 },
  { name: 'upload-local --dry-run', argv: ['upload-local', '--dry-run'], library: 'mixed', exitCodes: [3] },
  { name: 'upload-local --enqueue', argv: ['upload-local', '--enqueue'], library: 'mixed', changes: true },
  {
    name: 'analyze, nothing to do',
    argv: ['analyze', '--dry-run', '--missing'],
    library: 'settled',
    within: 3,
  },
  { name: 'analyze --outdated --dry-run', argv: ['analyze', '--dry-run', '--outdated'], library: 'mixed' },
  { name: 'restore --dry-run', argv: ['restore', '--dry-run'], library: 'settled' },
  {
    name: 'restore --limit 100 --dry-run',
    argv: ['restore', '--dry-run', '--limit', '100'],
    library: 'settled',
    within: 3,
  },
  {
    name: 'verify --rolling 30d --limit 1000',
    argv: ['verify', '--rolling', '30d', '--limit', '1000'],
    library: 'mixed',
    changes: true,
    exitCodes: [4],
  },
  {
    name: 'verify --since 1d, nothing to do',
    argv: ['verify', '--since', '1d'],
    library: 'settled',
    within: 3,
  },
  {
    name: 'verify --unproved',
    argv: ['verify', '--unproved', '--limit', '100'],
    library: 'mixed',
    changes: true,
    exitCodes: [4],
  },
  {
    name: 'verify --retry-failed, nothing to do',
    argv: ['verify', '--retry-failed'],
    library: 'settled',
    within: 3,
  },
  { name: 'cleanup, nothing to do', argv: ['cleanup'], library: 'settled' },
  {
    name: 'cleanup of old run records',
    argv: ['cleanup', '--apply', '--records-for', '30d'],
    library: 'settled',
    changes: true,
  },
  { name: 'reconcile', argv: ['reconcile'], library: 'settled', exitCodes: [4] },
]

interface Figures extends Measured {
  /** seconds of CPU of the database's server; where that is not to be had, seconds that sessions were busy */
  readonly database: number
  /** rows that scans read, and index look-ups fetched, in tables of the application and of the ledger */
  readonly touched: number
}

const admin = makeKnex({ client: 'pg', connection: server, pool: { min: 0, max: 1 } })
const postmaster = await findPostmaster()
const prefix = `autodj_scale_${process.pid}`
const made = new Set<string>()
const urlOf = (name: string): string => Object.assign(new URL(server), { pathname: `/${name}` }).href

async function create(name: string, template?: string): Promise<void> {
  await admin.raw(`create database ${name} ${template === undefined ? '' : `template ${template}`}`)
  made.add(name)
}

async function drop(name: string): Promise<void> {
  await admin.raw(`drop database if exists ${name} with (force)`)
  made.delete(name)
}

async function library(kind: Case['library'], rows: number): Promise<string> {
  const name = `${prefix}_${kind}_${rows}`
  if (made.has(name)) return name
  await create(name)
  const database = await openDatabase(urlOf(name), { applicationName: 'bench' })
  try {
    await migrateUp(database)
    await fillLibrary(database.knex, { rows, settled: kind === 'settled' })
  } finally {
    await database.close()
  }
  return name
}

/** What the database has counted of its sessions and tables so far, once all of them have reported and are gone. */
async function counters(name: string): Promise<{ database: number; touched: number }> {
  const knex: Knex = makeKnex({ client: 'pg', connection: urlOf(name), pool: { min: 0, max: 1 } })
  try {
    for (;;) {
      const others = await knex.raw(
        'select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
      )
      if (others.rows.length === 0) break
      await sleep(20)
    }
    const { rows } = await knex.raw(
      `select (select active_time / 1000 from pg_stat_database where datname = current_database()) as database,
         coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::float8 as touched from pg_stat_user_tables`,
    )
    return { ...rows[0], database: serverCpu() ?? rows[0].database }
  } finally {
    await knex.destroy()
  }
}

/** Seconds of CPU of the database's server and of all its sessions that have ended (proc(5)); undefined if it is elsewhere. */
function serverCpu(): number | undefined {
  if (postmaster === undefined) return undefined
  // Behind the name, which may have blanks: the eleventh to the fourteenth, in hundredths.
  const fields = readFileSync(`/proc/${postmaster}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / 100
}

/** The process of the server, if it is one of this machine. */
async function findPostmaster(): Promise<string | undefined> {
  try {
    const { rows } = await admin.raw(`select split_part(pg_read_file('postmaster.pid'), e'\n', 1) as pid`)
    return /^postgres/.test(readFileSync(`/proc/${rows[0].pid}/comm`, 'utf8')) ? rows[0].pid : undefined
  } catch {
    return undefined
  }
}

function runCase(one: Case, database: string, endpoint: string): Measured {
  return measureProgram(
    [process.execPath, program, ...one.argv, '-q'],
    {
      ...credentials,
      DATABASE_URL: urlOf(database),
      S3_BUCKET_NAME: bucket,
      S3_ENDPOINT: endpoint,
      CLOUDFRONT_DOMAIN: endpoint,
      AUDIO_STORAGE_PATH: path.join(work, 'audio'),
    },
    one.exitCodes,
  )
}

/** The statements of a run that are executed again and again, and touch more than ten times what comes of them. */
async function wasteful(one: Case, rows: number, endpoint: string): Promise<StatementTotals[] | undefined> {
  const name = `${prefix}_explained`
  await create(name, await library(one.library, rows))
  try {
    await explainStatements(admin, name)
    const before = await endOfLog(admin)
    if (before === undefined) return undefined
    runCase(one, name, endpoint)
    const statements = await statementsSince(admin, before)
    if (statements.length === 0) return undefined
    return statements.filter(
      ({ executions, touched, returned }) =>
        executions > scansARun && touched > Math.max(10 * returned, rows / 100),
    )
  } finally {
    await drop(name)
  }
}

async function measure(one: Case, rows: number, endpoint: string): Promise<Figures> {
  const template = await library(one.library, rows)
  const name = one.changes ? `${prefix}_copy` : template
  if (one.changes) await create(name, template)
  try {
    const before = await counters(name)
    const measured = runCase(one, name, endpoint)
    const after = await counters(name)
    return {
      ...measured,
      database: after.database - before.database,
      touched: after.touched - before.touched,
    }
  } finally {
    if (one.changes) await drop(name)
  }
}

/** Executions of a statement in a run that may each read a whole table. */
const scansARun = 4

/** Less than this, seconds, is start-up or noise. */
const noise = 0.5

/** What a further row takes in the last step of growth by what it took in the step before. */
function growth(
  figures: readonly Figures[],
  of: (figures: Figures) => number,
  floor: number,
): number | undefined {
  if (sizes.length < 3) return undefined
  const step = (index: number): number =>
    (of(figures[index] as Figures) - of(figures[index - 1] as Figures)) /
    ((sizes[index] as number) - (sizes[index - 1] as number))
  const last = sizes.length - 1
  if (of(figures[last] as Figures) - of(figures[last - 1] as Figures) < floor) return 0
  // A step that is lost in start-up says nothing: then the whole of it is compared.
  const before = Math.max(step(last - 1), of(figures[last - 1] as Figures) / (sizes[last - 1] as number) / 2)
  return step(last) / before
}

execFileSync('npm', ['run', '--silent', 'build'], {
  cwd: path.join(import.meta.dirname, '..'),
  stdio: 'inherit',
})
mkdirSync(path.join(work, 'audio', 'here'), { recursive: true })
// A folder without any audio looks unmounted.
writeFileSync(path.join(work, 'audio', 'here', 'here.mp3'), '')
const judgements = new Judgements('scale')
const wanted = values.only === '' ? [] : values.only.split(',')
const buckets = sizes.map(rows => fork(path.join(import.meta.dirname, 'scale', 'bucket.ts'), [String(rows)]))
const endpoints = await Promise.all(buckets.map(async one => ((await once(one, 'message')) as [string])[0]))
try {
  for (const one of cases) {
    if (wanted.length > 0 && !wanted.some(word => one.name.startsWith(word))) continue
    console.log(`\n${one.name}`)
    const figures: Figures[] = []
    for (const [index, rows] of sizes.entries()) {
      const rounds: Figures[] = []
      try {
        for (let round = 0; round < Number(values.rounds); round++)
          rounds.push(await measure(one, rows, endpoints[index] as string))
      } catch (error) {
        console.log(`${one.name} at ${rows}: ${error instanceof Error ? error.message : error}`)
        judgements.add(`${one.name} at ${rows}: runs`, 0, '= 1', false)
        break
      }
      const { database, touched } = rounds[0] as Figures
      const now = { ...middle(rounds), database, touched }
      figures.push(now)
      console.log(
        `${String(rows).padStart(9)} rows  wall ${now.wall.toFixed(2)} s  CPU ${now.cpu.toFixed(2)} s  peak ${now.peak.toFixed(0)} MiB  ` +
          `${Math.round(rows / now.wall)} rows/s  database ${database.toFixed(2)} s  touched ${(touched / rows).toFixed(2)} rows a row`,
      )
    }
    if (figures.length < sizes.length) continue
    if (sizes.length > 1) {
      const found = await wasteful(one, sizes.at(-2) as number, endpoints.at(-2) as string)
      if (found === undefined) console.log('statements: the log of the server is not to be had')
      else {
        for (const { text, executions, touched, returned } of found)
          console.log(`  ${executions} times, touched ${touched} for ${returned}: ${text.slice(0, 200)}`)
        judgements.add(
          `${one.name}: statements that touch ten times what comes of them`,
          found.length,
          '= 0',
          found.length === 0,
        )
      }
    }
    const bar = (what: string, value: number | undefined, most: number): void => {
      if (value !== undefined) judgements.add(`${one.name}: ${what}`, value, `<= ${most}`, value <= most)
    }
    bar(
      'growth of CPU a row',
      growth(figures, ({ cpu }) => cpu, noise),
      1.2,
    )
    bar(
      'growth of database time a row',
      growth(figures, ({ database }) => database, noise),
      1.2,
    )
    bar(
      'growth of rows touched a row',
      growth(figures, ({ touched }) => touched, 1_000),
      1.2,
    )
    const [small, large] = [figures.at(-2), figures.at(-1)]
    if (small && large) bar('growth of peak memory', large.peak / small.peak, 1.1)
    if (large) bar('rows touched a row of the library', large.touched / (sizes.at(-1) as number), 10)
    if (one.within !== undefined && large && sizes.at(-1) === 1_000_000)
      bar('wall seconds at 1,000,000', large.wall, one.within)
  }
} finally {
  for (const one of buckets) one.disconnect()
  for (const name of made) await drop(name)
  await admin.destroy()
}
judgements.print()
process.exit(0)

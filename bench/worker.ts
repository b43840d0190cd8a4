/**
 * What the queue costs, and how soon a killed worker's jobs are back:
 *
 *     TEST_POSTGRES_URL=… npm run bench:worker
 *
 * 2,000 files of 64 KiB, where the work for a job outweighs its bytes: `upload-local` itself, then the same files as jobs
 * of one worker, both with 16 transfers at a time; start-up is in both. Then two workers, of which one is killed -9 with
 * eight jobs in hand. The S3 server is the embedded one in a process of its own; all share the machine with PostgreSQL.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { startS3Server } from '../src/embedded/s3-server/server.ts'
import { fakeAudio, TestBed } from '../test/support/bed.ts'
import { postgresTestDatabase } from '../test/support/database.ts'

const credentials = { accessKeyId: 'BENCH', secretAccessKey: 'benchsecret' }
const files = 2_000
const fileSize = 64 * 1024
const jobsInHand = 8
const main = fileURLToPath(new URL('../src/main.ts', import.meta.url))

if (process.argv[2] === 'serve') {
  const dir = process.argv[3] as string
  const server = await startS3Server({ dir, credentials: [credentials], buckets: ['by-run', 'by-jobs'] })
  process.send?.(server.url)
} else await measure()

async function measure(): Promise<void> {
  const postgres = process.env['TEST_POSTGRES_URL']
  if (!postgres) throw new Error('set TEST_POSTGRES_URL: the figures are for PostgreSQL')
  const folder = mkdtempSync(path.join(tmpdir(), 'autodj-bench-worker-'))
  const server = fork(import.meta.filename, ['serve', folder])
  const [endpoint] = (await once(server, 'message')) as [string]
  const access = { endpoint, region: 'us-east-1', bucket: 'by-run', credentials }
  const bed = await TestBed.open(await postgresTestDatabase(postgres), access)
  try {
    for (let number = 0; number < files; number++) {
      await bed.addTrack({ path: `${number % 50}/${number}.flac`, content: fakeAudio(fileSize, number) })
    }
    const direct = await timed(['upload-local', '-q', '-c', '16'], bed.env)
    await bed.database.knex('tracks').update({ file_source: 'LOCAL', s3_object_key: null })
    // Hashes are remembered by now: both begin with files that were never read.
    await bed.database.knex('autodj_ledger.files').del()
    const env = { ...bed.env, S3_BUCKET_NAME: 'by-jobs' }
    const queueing = await timed(['upload-local', '-q', '--enqueue'], env)
    const working = await timed(
      ['worker', '-q', '--until-empty', '--upload', '16', '--fetch', '0', '--analyze', '0'],
      env,
    )
    const back = await secondsUntilBack(bed, folder)
    console.log(
      `upload-local ${direct.toFixed(2)} s; queued in ${queueing.toFixed(2)} s, done by a worker in ${working.toFixed(2)} s; ` +
        `a killed worker's ${jobsInHand} jobs were in work again after ${back.map(one => one.toFixed(1)).join(', ')} s`,
    )
    const rate = Math.round(files / working)
    const last = Number(Math.max(...back).toFixed(1))
    const results = [
      { what: 'jobs/s of one worker', value: rate, bar: '>= 100', holds: rate >= 100 },
      {
        what: 'killed worker: s until its last job is in work again',
        value: last,
        bar: '< 90',
        holds: last < 90,
      },
    ]
    console.log(JSON.stringify({ bench: 'worker', results }))
  } finally {
    await bed.close()
    server.kill()
    rmSync(folder, { recursive: true, force: true })
  }
}

function start(argv: readonly string[], env: Record<string, string>): ChildProcess {
  return spawn(process.execPath, [main, ...argv], {
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
}

/** @returns seconds from start to end of a command that must succeed */
async function timed(argv: readonly string[], env: Record<string, string>): Promise<number> {
  const begun = performance.now()
  const [code] = (await once(start(argv, env), 'exit')) as [number | null]
  if (code !== 0) throw new Error(`${argv.join(' ')} ended with ${code}`)
  return (performance.now() - begun) / 1_000
}

/** Seconds from the kill until each job that the victim had in hand was in another worker's. */
async function secondsUntilBack(bed: TestBed, folder: string): Promise<number[]> {
  const log = path.join(folder, 'starts')
  const downloader = path.join(folder, 'slow.sh')
  writeFileSync(downloader, `#!/bin/sh\ndate +%s.%N >> ${log}\nexec sleep 300\n`)
  chmodSync(downloader, 0o755)
  mkdirSync(bed.audioRoot, { recursive: true })
  writeFileSync(log, '')
  const starts = () => readFileSync(log, 'utf8').trim().split('\n').filter(Boolean).map(Number)
  for (let number = 0; number < jobsInHand; number++)
    await bed.addTrack({ path: null, source: 'UNAVAILABLE' })
  const env = { ...bed.env, FETCH_COMMAND: `${downloader} {output}` }
  await timed(['fetch', '-q', '--enqueue', '--from', 'command'], env)
  const argv = [
    'worker',
    '-q',
    '--fetch',
    String(jobsInHand),
    '--upload',
    '0',
    '--analyze',
    '0',
    '--drain-timeout',
    '1s',
  ]
  const victim = start(argv, env)
  while (starts().length < jobsInHand) await sleep(100)
  const other = start(argv, env)
  await sleep(3_000)
  victim.kill('SIGKILL')
  const killedAt = Date.now() / 1_000
  while (starts().length < 2 * jobsInHand) await sleep(250)
  other.kill('SIGTERM')
  await once(other, 'exit')
  return starts()
    .slice(jobsInHand)
    .map(at => at - killedAt)
}

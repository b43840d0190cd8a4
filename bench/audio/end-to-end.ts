/**
 * What only shows on whole libraries and whole sets. `autodj analyze` as a process, from a real S3 server over a socket into PostgreSQL, against what the same threads
 * make of the same files on the disk: what downloads, checksums, database and start-up cost.
 */
import { execFile, execFileSync, spawn } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { crc32 } from 'node:zlib'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { upsertObjects } from '../../src/db/ledger.ts'
import { TestBed } from '../../test/support/bed.ts'
import { postgresTestDatabase } from '../../test/support/database.ts'
import { cacheFolder, type Rendered } from './render.ts'
import { claim } from './report.ts'
import { fourMinutes, load } from './speed.ts'

const run = promisify(execFile)

const root = fileURLToPath(new URL('../..', import.meta.url))

/** versitygw, built by scripts/tools.sh, on a free port and a folder of its own. */
async function startServer() {
  const bin = execFileSync('sh', [join(root, 'scripts/tools.sh')], { encoding: 'utf8' }).trim()
  const dir = mkdtempSync(join(tmpdir(), 'autodj-bench-s3-'))
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as { port: number }
  await new Promise(resolve => probe.close(resolve))
  mkdirSync(join(dir, 'data'))
  const credentials = { accessKeyId: 'autodj', secretAccessKey: 'autodj-secret' }
  const child = spawn(
    join(bin, 'versitygw'),
    ['--access', 'autodj', '--secret', 'autodj-secret', '--port', `127.0.0.1:${port}`]
      .concat('--keep-alive', '--quiet')
      .concat('posix', join(dir, 'data')),
    { stdio: 'ignore' },
  )
  const endpoint = `http://127.0.0.1:${port}`
  const client = new S3Client({ endpoint, region: 'us-east-1', credentials, forcePathStyle: true })
  const bucket = 'bench'
  for (let tries = 0; ; tries++) {
    try {
      await client.send(new CreateBucketCommand({ Bucket: bucket }))
      break
    } catch (error) {
      if (tries > 50) throw error
      await sleep(100)
    }
  }
  client.destroy()
  return {
    access: { endpoint, region: 'us-east-1', bucket, credentials },
    close() {
      child.kill()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

interface EndToEnd {
  /** Seconds of audio per second of wall clock, from the start of the process to its end. */
  readonly realtime: number
  /** As the run's own summary says it, without start-up. */
  readonly running: number
  /** Resident megabytes of the process, at most. */
  readonly megabytes: number
  readonly threads: number
  /** Share of the time that threads were at work. */
  readonly busy: number
}

/** @returns undefined, said aloud, where there is no PostgreSQL or no Go to build the server with */
async function endToEnd(file: string, tracks: number): Promise<EndToEnd | undefined> {
  const postgres = process.env['TEST_POSTGRES_URL']
  if (!postgres) {
    console.log('skipped: end to end (TEST_POSTGRES_URL names no PostgreSQL)\n')
    return undefined
  }
  const server = await startServer().catch(error => console.log(`skipped: end to end (${error})\n`))
  if (!server) return undefined
  const bed = await TestBed.open(await postgresTestDatabase(postgres), server.access)
  try {
    const content = readFileSync(file)
    const crc = Buffer.alloc(4)
    for (let number = 0; number < tracks; number++) {
      // No two alike.
      const own = Buffer.concat([content, Buffer.from(randomUUID())])
      const key = `audio/${number}.mp3`
      const sha256 = createHash('sha256').update(own).digest('hex')
      crc.writeUInt32BE(crc32(own))
      const crc32Text = crc.toString('base64')
      const { etag } = await bed.store.put(key, own, {
        headers: { contentType: 'audio/mpeg', metadata: { sha256 } },
        checksums: { crc32: crc32Text },
      })
      await upsertObjects(bed.database.knex, [
        { bucket: server.access.bucket, key, size: own.length, etag, sha256, crc32: crc32Text },
      ])
      await bed.addTrack({ path: null, source: 'S3', key })
    }
    const startedAt = performance.now()
    const child = spawn(process.execPath, [join(root, 'src/main.ts'), 'analyze', '--json', '-q'], {
      env: { ...process.env, ...bed.env },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', text => {
      output += text
    })
    let megabytes = 0
    const watch = setInterval(() => {
      try {
        const [, kilobytes] = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8')) ?? []
        megabytes = Math.max(megabytes, Number(kilobytes ?? 0) / 1024)
      } catch {
        // It has just ended, or this is no Linux.
      }
    }, 100)
    const [code] = (await once(child, 'close')) as [number | null]
    const seconds = (performance.now() - startedAt) / 1000
    clearInterval(watch)
    const line = output.split('\n').find(one => one.includes('"message_type":"summary"')) ?? '{}'
    const summary = JSON.parse(line) as Record<string, number>
    if (code !== 0 || summary['analysed'] !== tracks) throw new Error(`it ended with ${code}: ${line}`)
    return {
      realtime: (summary['audio_seconds'] ?? 0) / seconds,
      running: summary['x_realtime'] ?? 0,
      megabytes,
      threads: summary['threads'] ?? 0,
      busy: summary['threads_busy'] ?? 0,
    }
  } finally {
    await bed.close()
    server.close()
  }
}

/** 100 tracks from a real S3 server, against the same files from the disk. */
export async function fromServer(items: readonly Rendered[], quick: boolean): Promise<void> {
  const file = await fourMinutes(items)
  const count = quick ? 8 : 100
  const whole = await endToEnd(file, count)
  if (!whole) return
  const { realtime, running, megabytes, threads, busy } = whole
  const { report } = await load(
    [],
    'pool',
    String(threads),
    '2',
    ...Array.from({ length: count }, () => file),
  )
  const alone = report['audioSeconds']! / report['seconds']!
  console.log(
    `${count} tracks of 4 minutes from S3, ${threads} threads: ${realtime.toFixed(0)}x rt from start to end of the process, ` +
      `${running.toFixed(0)}x without its start, threads ${(100 * busy).toFixed(0)} % busy, ${megabytes.toFixed(0)} MB at most; ` +
      `from the disk, threads warm: ${alone.toFixed(0)}x\n`,
  )
  claim('end to end from S3, share of the rate of the analysis alone', realtime / alone, '>= 0.9')
  claim('end to end, resident MB a worker at most', megabytes / threads, '<= 400')
}

/** A long set in one file of FLAC, by either decoder. */
export async function longSet(items: readonly Rendered[], quick: boolean): Promise<void> {
  const hours = quick ? 0.2 : 3
  const path = join(cacheFolder(), `${hours}-hours.flac`)
  if (!existsSync(path)) {
    const source = await fourMinutes(items)
    await run('ffmpeg', [
      '-v',
      'error',
      '-y',
      '-stream_loop',
      '-1',
      '-i',
      source,
      '-t',
      String(3600 * hours),
      path,
    ])
  }
  for (const decoder of ['ffmpeg', 'npm'] as const) {
    const { report, cpu } = await load([], 'file', decoder, path)
    const most = Math.max(...report.megabytes)
    console.log(
      `${(report['audioSeconds']! / 3600).toFixed(1)} hours of FLAC by ${decoder}: ${cpu.toFixed(0)} s of CPU, ${most.toFixed(0)} MB at most\n`,
    )
    claim(`resident MB for a set of ${hours} hours, ${decoder}`, most, '<= 400')
  }
}

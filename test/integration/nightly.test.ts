/**
 * `autodj run` as cron runs it: no terminal, almost no environment, a strict umask, the root folder as its own. Twice at
 * once, and killed at random moments.
 *
 * TEST_SEED is for other moments.
 */
import { spawn } from 'node:child_process'
import { mkdir, readFile, stat, utimes, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { fakeAudio } from '../support/bed.ts'
import { type Cdn, startCdn } from '../support/cdn/cdn.ts'
import { postgresTestDatabase, type TestDatabase } from '../support/database.ts'
import { type TestServer, testServer } from '../support/s3-server.ts'
import { testPostgres } from '../support/servers.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const postgres = testPostgres()
const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const credentials = { accessKeyId: 'AKIATESTTESTTEST', secretAccessKey: 'not-to-be-seen-in-any-record' }
const files = 300

describe.skipIf(postgres === undefined)('autodj run from cron', () => {
  let home: string
  let s3: TestServer
  let cdn: Cdn
  let database: TestDatabase
  let db: Database
  let env: Record<string, string>

  beforeEach(async () => {
    home = temporaryFolder('nightly')
    s3 = await testServer({ credentials: [credentials] })
    cdn = await startCdn({
      origin: s3.origin,
    })
    database = await postgresTestDatabase(postgres!)
    db = await database.open()
    await mkdir(path.join(home, 'audio'))
    const old = new Date(Date.now() - 90 * 86_400_000)
    for (let number = 0; number < files; number++) {
      const file = path.join(home, 'audio', `Artist ${number % 9} - Song ${number}.flac`)
      await writeFile(file, fakeAudio(20_000, number))
      await utimes(file, old, old)
    }
    const settings = {
      DATABASE_URL: database.url,
      ...s3.settings,
      CLOUDFRONT_DOMAIN: cdn.url,
      AUDIO_STORAGE_PATH: path.join(home, 'audio'),
    }
    const lines = Object.entries(settings).map(([name, value]) => `${name}=${value}\n`)
    await writeFile(path.join(home, 'settings.env'), lines.join(''), { mode: 0o600 })
    env = { TMPDIR: home }
  })
  afterEach(async () => {
    await db.close()
    await database.drop()
    await cdn.close()
    await s3.close()
  })

  function night(...argv: string[]) {
    const command = ['run', '--settings', path.join(home, 'settings.env'), ...argv]
    const child = spawn('sh', ['-c', 'umask 077; cd /; exec "$0" "$@"', process.execPath, main, ...command], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', chunk => {
      stdout += chunk
    })
    child.stderr.on('data', chunk => {
      stderr += chunk
    })
    const ended = new Promise<{ code: number | null; stdout: string; stderr: string }>(resolve => {
      child.on('close', code => resolve({ code, stdout, stderr }))
    })
    return { child, ended }
  }

  const sources = async (): Promise<Record<string, number>> => {
    const rows = (await db.knex('public.tracks').select('file_source').count().groupBy('file_source')) as {
      file_source: string
      count: string
    }[]
    return Object.fromEntries(rows.map(row => [row.file_source, Number(row.count)]))
  }

  it('does not migrate unasked; then does everything, once, and says so shortly', async () => {
    const unasked = await night().ended
    expect(unasked).toMatchObject({ code: 2, stdout: '' })
    expect(unasked.stderr).toContain('--yes')

    const dry = await night('--dry-run').ended
    expect(dry.code).toBe(0)
    expect(dry.stdout).toMatch(/migrate +\d+ migrations/)

    const metrics = path.join(home, 'autodj.prom')
    const log = path.join(home, 'autodj.log')
    const records = ['--metrics', metrics, '--log-file', log, '--log-format', 'json']
    const first = await night('--yes', '--apply', ...records).ended
    expect(first, first.stderr).toMatchObject({ code: 0 })
    expect(await sources()).toEqual({ S3: files })
    expect(first.stdout).toMatch(/^All \d steps are done, in /)
    expect(first.stdout).toMatch(/^ {2}upload-local +300 tracks/m)
    expect(first.stdout).toMatch(/^ {2}verify --unproved +300 tracks are served/m)
    for (const line of first.stderr.trimEnd().split('\n')) expect(line).toMatch(/^\d{4}-\d\d-\d\dT[\d:]{8}Z /)
    const samples = await readFile(metrics, 'utf8')
    for (const command of ['run', 'import', 'upload-local', 'verify --unproved', 'reconcile', 'cleanup'])
      expect(samples).toContain(`autodj_run_exit_code{command="${command}"} 0\n`)
    expect(samples).toContain(`autodj_library_tracks{source="S3"} ${files}\n`)
    expect((await stat(metrics)).mode & 0o777).toBe(0o644)
    expect(await readFile(log, 'utf8')).not.toContain(credentials.secretAccessKey)
    const plan = await night('--dry-run', '--json').ended
    const summary = plan.stdout.split('\n').find(line => line.includes('"summary"'))
    expect(JSON.parse(summary ?? '{}')).toMatchObject({
      dry_run: true,
      estimated_dollars: expect.any(Number),
    })
    const quiet = await night('-q').ended
    expect(quiet).toEqual({ code: 0, stdout: '', stderr: '' })
  })

  it('runs once at a time', async () => {
    expect((await night('--yes', '--steps', 'import').ended).code).toBe(0)
    const both = await Promise.all([night().ended, night().ended])
    const codes = both.map(one => one.code).sort()
    expect([
      [0, 11],
      [11, 0],
    ]).toContainEqual(both.map(one => one.code))
    expect(codes).toEqual([0, 11])
    expect(both.find(one => one.code === 11)?.stderr).toMatch(/run is locked by run \(pid \d+ on /)
    expect(await sources()).toEqual({ S3: files })
  })

  it('killed at random moments, again and again: the night that is let be is true and short', async () => {
    let state = Number(process.env['TEST_SEED'] ?? 20_260_131)
    const random = () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
      return state / 0x7fffffff
    }
    let kills = 0
    for (let number = 0; number < 6; number++) {
      const { child, ended } = night('--yes', '--apply')
      // After so many requests to S3: at the same moments on a fast machine and on a slow one.
      const before = s3.requests.length
      const after = Math.floor(random() * 450)
      const look = setInterval(() => {
        if (s3.requests.length - before >= after) child.kill('SIGKILL')
      }, 2)
      if ((await ended).code === null) kills++
      clearInterval(look)
    }
    expect(kills).toBeGreaterThan(0)
    const last = await night('--yes', '--apply').ended
    expect(last, last.stderr).toMatchObject({ code: 0 })
    expect(await sources()).toEqual({ S3: files })
    const keys = new Set(s3.requests.map(one => one.key))
    expect(keys.size).toBeGreaterThan(0)
    const again = await night('--apply').ended
    expect(again, again.stderr).toMatchObject({ code: 0 })
    expect(again.stdout.split('\n').length).toBeLessThan(12)
    expect(again.stdout).toMatch(/upload-local +Nothing to upload/)
    expect(again.stdout).toMatch(/reconcile +.*(agree|no difference|No difference|0 differences)/i)
  })
})

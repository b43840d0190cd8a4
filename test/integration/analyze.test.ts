/** `analyze` on PostgreSQL and a real S3 server: its contract, and the program killed and stopped at work. */
import { randomUUID } from 'node:crypto'
import { readdir, rm } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { afterEach, describe, expect, test } from 'vitest'
import { addObject, analyzeContract, fixture } from '../contract/analyze.ts'
import { TestBed } from '../support/bed.ts'
import { postgresTestDatabase } from '../support/database.ts'
import { startGate } from '../support/gate.ts'
import { type Finished, start } from '../support/process.ts'
import { testPostgres, testS3 } from '../support/servers.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const [postgres, s3] = [testPostgres(), testS3()]

async function openBed(): Promise<TestBed> {
  if (!postgres || !s3) throw new Error('skipped')
  const bucket = `analyze-${randomUUID().slice(0, 8)}`
  const client = new S3Client({ ...s3, forcePathStyle: true })
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  client.destroy()
  return TestBed.open(await postgresTestDatabase(postgres), { ...s3, bucket })
}

if (postgres && s3) analyzeContract('PostgreSQL and a real S3 server', openBed)
else describe.skip('analyze on PostgreSQL and a real S3 server', () => test('is skipped', () => {}))

describe.skipIf(!postgres || !s3)('analyze as a process', () => {
  const closing: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close()
  })

  const content = fixture('music.ogg')

  /** A library of objects, a gate before its store that lets one and a half of them through each connection. */
  async function openLibrary(count: number) {
    const bed = await openBed()
    closing.push(() => bed.close())
    for (let number = 0; number < count; number++) await addObject(bed, `audio/${number}.ogg`, content)
    const temp = temporaryFolder('analyze')
    closing.push(() => rm(temp, { recursive: true, force: true }))
    const gatedRun = async () => {
      const gate = await startGate(bed.access.endpoint, Math.floor(1.5 * content.length))
      closing.push(() => gate.close())
      const env = { ...bed.env, S3_ENDPOINT: gate.endpoint, TMPDIR: temp }
      return { gate, ...start(['analyze', '--json', '-c', '1'], env) }
    }
    const analysed = async (): Promise<Map<string, number>> => {
      const rows = await bed.database.knex('tracks').whereNotNull('analyzed_at')
      return new Map(rows.map(row => [row.id as string, (row.analyzed_at as Date).getTime()]))
    }
    const run = () => start(['analyze', '--json'], { ...bed.env, TMPDIR: temp }).finished
    return { bed, temp, gatedRun, analysed, run }
  }

  /** Until a download is held half-way and more rows than so many are written. */
  async function untilAtWork(
    { gate, finished }: { gate: { readonly held: number }; finished: Promise<Finished> },
    analysed: () => Promise<ReadonlyMap<string, number>>,
    before: number,
  ): Promise<void> {
    let ended: Finished | undefined
    void finished.then(end => {
      ended = end
    })
    while (gate.held === 0 || (await analysed()).size <= before) {
      if (ended) throw new Error(`it ended with ${ended.code}: ${ended.stderr}`)
      await sleep(20)
    }
  }

  const foldersOf = async (temp: string): Promise<string[]> =>
    (await readdir(temp)).filter(name => /^autodj-run-[0-9a-f-]{36}$/.test(name))

  test('kill -9 again and again: the next run sweeps what the last one left, and no track is analysed twice', {
    timeout: 300_000,
  }, async () => {
    const { bed, temp, gatedRun, analysed, run } = await openLibrary(24)
    const done = new Map<string, number>()
    let left: string[] = []
    for (let kill = 0; kill < 3; kill++) {
      const running = await gatedRun()
      await untilAtWork(running, analysed, done.size)
      // Those of the run before are gone, its own are there, with a download in them.
      const folders = await foldersOf(temp)
      expect(folders.filter(folder => left.includes(folder))).toEqual([])
      expect(folders).toHaveLength(1)
      running.child.kill('SIGKILL')
      expect((await running.finished).signal).toBe('SIGKILL')
      const files = await readdir(path.join(temp, folders[0] as string))
      expect(files.some(file => file.endsWith('.part'))).toBe(true)
      left = folders
      for (const [id, at] of await analysed()) {
        // What an earlier run has done, this one did not do again.
        expect(done.get(id) ?? at).toBe(at)
        done.set(id, at)
      }
    }
    expect(done.size).toBeLessThan(24)
    const last = await run()
    expect(last.stderr).toBe('')
    expect(last.code).toBe(0)
    const summary = last.stdout.split('\n').find(line => line.includes('"summary"')) ?? '{}'
    expect(JSON.parse(summary)).toMatchObject({ analysed: 24 - done.size, failed: 0, rows_changed: 0 })
    const end = await analysed()
    expect(end.size).toBe(24)
    for (const [id, at] of done) expect(end.get(id)).toBe(at)
    expect(await readdir(temp)).toEqual([])
    expect(await bed.database.knex('autodj_ledger.claims')).toEqual([])
    expect(await bed.database.knex('autodj_ledger.analyses')).toHaveLength(24)
    const runs = await bed.database.knex('autodj_ledger.runs').where({ command: 'analyze' }).select('state')
    expect(runs.map(row => row.state).sort()).toEqual(['abandoned', 'abandoned', 'abandoned', 'done'])
  })

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)(
    '%s at work: nothing is left in the temp folder, what was analysed is kept',
    {
      timeout: 120_000,
    },
    async (signal, code) => {
      const { bed, temp, gatedRun, analysed, run } = await openLibrary(12)
      const running = await gatedRun()
      await untilAtWork(running, analysed, 0)
      running.child.kill(signal)
      expect((await running.finished).code).toBe(code)
      expect(await readdir(temp)).toEqual([])
      expect(await bed.database.knex('autodj_ledger.claims')).toEqual([])
      const kept = await analysed()
      expect(kept.size).toBeGreaterThan(0)
      expect(kept.size).toBeLessThan(12)
      expect((await run()).code).toBe(0)
      const end = await analysed()
      expect(end.size).toBe(12)
      for (const [id, at] of kept) expect(end.get(id)).toBe(at)
    },
  )

  test('two runs at once share the library: every track is analysed by one of them', {
    timeout: 120_000,
  }, async () => {
    const { bed, temp, run } = await openLibrary(40)
    const both = await Promise.all([run(), run()])
    expect(both.map(({ code }) => code)).toEqual([0, 0])
    const counts = both.map(({ stdout }) => {
      const summary = stdout.split('\n').find(line => line.includes('"summary"')) ?? '{}'
      return JSON.parse(summary).analysed as number
    })
    expect((counts[0] ?? 0) + (counts[1] ?? 0)).toBe(40)
    expect(await bed.database.knex('tracks').whereNull('analyzed_at')).toEqual([])
    expect(await readdir(temp)).toEqual([])
  })
})

/** What `analyze` promises, on any database and any S3 server. */
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { AnalyzeFlags } from '../../src/analyze/flags.ts'
import { drawAnalysis, readPicture } from '../../src/analyze/plot.ts'
import { openAnalyzer, planAnalyze, runAnalyze } from '../../src/analyze/run.ts'
import { AnalyzeWork } from '../../src/analyze/work.ts'
import { plainFolder } from '../../src/core/audio-path.ts'
import { recentRuns, upsertObjects } from '../../src/db/ledger.ts'
import { ExitCode } from '../../src/errors.ts'
import { NamedTracks } from '../../src/runs/named-tracks.ts'
import { recordRun } from '../../src/runs/recorded-run.ts'
import type { ObjectStore } from '../../src/storage/store.ts'
import type { BedRun, TestBed } from '../support/bed.ts'
import { withTrigger } from '../support/database.ts'
import { itemPage } from '../support/ledger.ts'
import { crc32Text } from '../support/sums.ts'

export const analyzeDefaults: AnalyzeFlags = {
  source: 'auto',
  missing: false,
  outdated: false,
  failed: false,
  all: false,
  track: [],
  check: false,
  plot: undefined,
  dryRun: false,
  enqueue: false,
  job: undefined,
  maxDuration: undefined,
  bwlimit: undefined,
  limit: undefined,
  concurrency: 2,
  tempLimit: 1024 ** 3,
  timeLimit: 120_000,
  bpmRange: undefined,
  maxOutage: 60_000,
  lockWait: 15_000,
}

function analyzeTracksOf(
  bed: TestBed,
  flags: Partial<AnalyzeFlags> = {},
  { store, ...options }: Parameters<TestBed['run']>[2] & { store?: Partial<ObjectStore> } = {},
): Promise<BedRun> {
  return bed.run(
    'analyze',
    context =>
      runAnalyze(store ? { ...context, store: async () => ({ ...bed.store, ...store }) } : context, {
        ...analyzeDefaults,
        ...flags,
      }),
    options,
  )
}

const at = (folder: string, name: string): Buffer =>
  readFileSync(fileURLToPath(new URL(`../../${folder}/${name}`, import.meta.url)))
export const demo = (name: string): Buffer => at('assets/demo', name)
export const fixture = (name: string): Buffer => at('test/fixtures/audio', name)

/** Nothing of these runs is left in the temp folder. Other tests are at work: their sweeps take a lock for a moment. */
export async function expectNoTempOf(runs: readonly string[]): Promise<void> {
  const left = async () =>
    (await readdir(tmpdir())).filter(
      name => name.startsWith('autodj-run-') && runs.some(id => name.includes(id)),
    )
  await expect.poll(left, { timeout: 20_000 }).toEqual([])
}

/** An object and a row that names it, as `upload-local` leaves them. */
export async function addObject(
  bed: TestBed,
  key: string,
  content: Uint8Array,
  { ledger = true, file }: { ledger?: boolean; file?: string } = {},
): Promise<string> {
  const sha256 = createHash('sha256').update(content).digest('hex')
  const { etag } = await bed.store.put(key, content, {
    headers: { contentType: 'audio/mpeg', ...(ledger && { metadata: { sha256 } }) },
    checksums: { crc32: crc32Text(content) },
  })
  if (ledger) {
    await upsertObjects(bed.database.knex, [
      { bucket: bed.access.bucket, key, size: content.length, etag, sha256, crc32: crc32Text(content) },
    ])
  }
  return bed.addTrack({ path: file ?? null, source: 'S3', key })
}

interface AnalyzedRow {
  id: string
  bpm: number | null
  key: string | null
  energy: number | null
  valence: number | null
  loudness: number | null
  beat_timestamps: number[] | null
  energy_profile: { time: number; energy: number }[] | null
  mixable_sections: unknown[] | null
  instrumental_sections: unknown[] | null
  analysis_version: string | null
  analyzed_at: Date | null
  analysis_error: string | null
}

export const rowOf = async (bed: TestBed, id: string): Promise<AnalyzedRow> =>
  bed.database.knex('tracks').where({ id }).first()

export function analyzeContract(name: string, openBed: () => Promise<TestBed>): void {
  describe(`analyze on ${name}`, () => {
    let bed: TestBed
    beforeAll(async () => {
      bed = await openBed()
    })
    afterAll(() => bed.close())
    beforeEach(() => bed.reset())

    const expectNoTemp = async (run: BedRun): Promise<void> => {
      const [last] = await recentRuns(bed.database.knex, { limit: 1 })
      expect(run.exitCode).toBe(last?.exitCode)
      await expectNoTempOf([last?.id ?? '?'])
    }

    test('objects and local files: every column that is measured, the ledger beside it, and a second run does nothing', async () => {
      const remote = await addObject(bed, 'audio/a.mp3', demo('01-first-light.mp3'))
      const local = await bed.addTrack({ path: 'b.flac', content: demo('02-harbour-lamps.flac') })
      const none = await bed.addTrack({ path: null, source: 'UNAVAILABLE' })
      await bed.database.knex('tracks').where({ id: remote }).update({ valence: 0.25 })
      const run = await analyzeTracksOf(bed)
      expect(run.exitCode).toBe(ExitCode.ok)
      expect(run.summary).toMatchObject({ analysed: 2, failed: 0, downloads: 1, unverified: 0, damaged: 0 })
      await expectNoTemp(run)
      const [a, b] = [await rowOf(bed, remote), await rowOf(bed, local)]
      for (const row of [a, b]) {
        expect(row).toMatchObject({ analysis_version: '3.10.0', analysis_error: null })
        expect(row.analyzed_at).toBeInstanceOf(Date)
        expect(row.loudness).toBeLessThan(-3)
        expect(row.energy).toBeGreaterThan(0)
        expect(row.beat_timestamps?.length).toBeGreaterThan(15)
        expect(row.energy_profile?.[0]).toEqual({ time: expect.any(Number), energy: expect.any(Number) })
        expect(row.mixable_sections).toBeInstanceOf(Array)
        // What the application's page reads of each.
        for (const section of row.mixable_sections ?? [])
          expect(section).toMatchObject({ beats_aligned: true })
        // Nobody sings in the demo's music.
        expect(row).toMatchObject({ vocal_sections: [], instrumentalness: 1 })
        expect(row.instrumental_sections).toEqual([
          { start: 0, end: expect.any(Number), confidence: expect.any(Number) },
        ])
      }
      expect(a.bpm).toBeCloseTo(120, 0)
      expect(b.bpm).toBeCloseTo(124, 0)
      expect(a.valence).toBe(0.25)
      expect((await rowOf(bed, none)).analyzed_at).toBeNull()
      const ledger = await bed.database.knex('autodj_ledger.analyses').where({ track_id: remote }).first()
      expect(ledger).toMatchObject({ analysis_version: '3.10.0', problems: [], beats_per_bar: 4 })
      expect(ledger.analyzed_at).toEqual(a.analyzed_at)
      expect(ledger.waveform).toHaveLength(3_000)
      expect(new Set(ledger.waveform).size).toBeGreaterThan(50)
      const picture = await readPicture(bed.database.knex, remote)
      expect(picture).toMatchObject({ duration: ledger.duration })
      expect(picture?.downbeats.length).toBeGreaterThan(4)
      expect(picture?.tempoParts).toEqual([{ start: 0, end: ledger.duration, bpm: a.bpm, constant: true }])
      expect(drawAnalysis(picture!)).toContain(`${a.bpm} BPM`)
      expect(await readPicture(bed.database.knex, none)).toBeUndefined()

      const again = await analyzeTracksOf(bed)
      expect(again).toMatchObject({ exitCode: ExitCode.ok, summary: { analysed: 0 }, items: [] })
      // One again, by its id; the others stay as they are.
      const one = await analyzeTracksOf(bed, { track: [remote], bpmRange: [50, 70] })
      expect(one.summary).toMatchObject({ analysed: 1 })
      expect((await rowOf(bed, remote)).bpm).toBeCloseTo(60, 0)
      expect((await rowOf(bed, local)).analyzed_at).toEqual(b.analyzed_at)
    })

    test('--outdated, --all, --limit, a dry run, and ids that are no tracks', async () => {
      const ids: string[] = []
      for (const version of ['2.0.0', '3.9.0', '3.10.0', '10.0.0', 'librosa']) {
        const id = await bed.addTrack({ path: `${version}.ogg`, content: fixture('music.ogg') })
        await bed.database
          .knex('tracks')
          .where({ id })
          .update({ analysis_version: version, analyzed_at: new Date(0), bpm: 60 })
        ids.push(id)
      }
      const plan = await bed.run('analyze', async context => {
        await planAnalyze(context, { ...analyzeDefaults, outdated: true })
        return ExitCode.ok
      })
      expect(plan.summary).toMatchObject({
        dry_run: true,
        tracks: 3,
        estimated_seconds: null,
        next: 'run it again without --dry-run',
      })
      expect((await analyzeTracksOf(bed)).summary).toMatchObject({ analysed: 0 })
      expect((await analyzeTracksOf(bed, { outdated: true, limit: 1 })).summary).toMatchObject({
        analysed: 1,
      })
      expect((await analyzeTracksOf(bed, { outdated: true })).summary).toMatchObject({ analysed: 2 })
      expect((await analyzeTracksOf(bed, { all: true })).summary).toMatchObject({ analysed: 5 })
      const unknown = '11111111-2222-4333-8444-555555555555'
      const absent = await analyzeTracksOf(bed, { track: [unknown, ids[0] as string] })
      expect(absent.exitCode).toBe(ExitCode.someFailed)
      expect(absent.summary).toMatchObject({ analysed: 1, failed: 1 })
      expect(absent.summary['next']).toBeUndefined()
      expect(absent.items.find(item => item['track_id'] === unknown)).toMatchObject({ code: 'row.missing' })
      for (const flags of [
        { all: true, failed: true },
        { missing: true, track: [unknown] },
        { track: ['x'] },
      ])
        expect((await analyzeTracksOf(bed, flags)).exitCode).toBe(ExitCode.usage)
    })

    test('what cannot be analysed is named on its row, the rest is done; only --failed tries again', async () => {
      const whole = fixture('music.flac')
      const noise = Buffer.from(Array.from({ length: 60_000 }, (_, i) => (i * 7_919) % 251))
      const codes: Record<string, string> = {
        [await bed.addTrack({ path: 'good.flac', content: whole })]: 'ok',
        [await addObject(bed, 'audio/text.mp3', Buffer.from('These are words.\n'.repeat(400)))]:
          'audio.unknown',
        [await addObject(bed, 'audio/zero.mp3', Buffer.alloc(0))]: 'audio.empty',
        [await bed.addTrack({ path: 'zero.mp3', content: '' })]: 'file.empty',
        [await bed.addTrack({ path: 'gone.mp3' })]: 'file.missing',
        [await bed.addTrack({ path: '../outside.mp3' })]: 'file.refused',
        [await bed.addTrack({ path: null, source: 'S3', key: 'audio/gone.mp3' })]: 'object.missing',
      }
      const truncated = await addObject(bed, 'audio/cut.flac', whole.subarray(0, whole.length / 2))
      const garbled = await bed.addTrack({ path: 'noise.mp3', content: noise })
      const run = await analyzeTracksOf(bed)
      expect(run.exitCode).toBe(ExitCode.someFailed)
      await expectNoTemp(run)
      const told = Object.fromEntries(run.items.map(item => [item['track_id'], item]))
      for (const [id, code] of Object.entries(codes)) {
        expect(told[id]?.['code'] ?? 'ok').toBe(code)
        const row = await rowOf(bed, id)
        if (code === 'ok') continue
        expect(row.analysis_error, code).toBe(told[id]?.['reason'])
        expect(row.analyzed_at).toBeNull()
      }
      expect(told[garbled]).toMatchObject({ state: 'failed', code: expect.stringMatching(/^audio\./) })
      expect(told[truncated]).toMatchObject({ state: 'damaged', reason: expect.stringMatching(/^truncated/) })
      expect(await rowOf(bed, truncated)).toMatchObject({
        analysis_version: '3.10.0',
        analysis_error: expect.stringMatching(/^truncated/),
        bpm: expect.any(Number),
      })
      expect(run.summary).toMatchObject({ analysed: 2, damaged: 1, failed: 7 })
      // A source that was away comes up again; content that is no audio does not.
      const next = await analyzeTracksOf(bed)
      expect(next.items.map(item => item['code']).sort()).toEqual([
        'file.missing',
        'file.refused',
        'object.missing',
      ])
      expect(next.summary).toMatchObject({ failed: 3, left_to_failed: 4 })
      writeFileSync(path.join(bed.audioRoot, 'gone.mp3'), fixture('music.mp3'))
      writeFileSync(path.join(bed.audioRoot, 'zero.mp3'), fixture('music.mp3'))
      const retried = await analyzeTracksOf(bed, { failed: true })
      expect(retried.summary).toMatchObject({ analysed: 3, damaged: 1, failed: 5 })
      const left = await itemPage(bed.database.knex, { command: 'analyze', limit: 100 })
      expect(left).toHaveLength(6)
    })

    test('without the audio folder local tracks are left alone, and no row is blamed', async () => {
      const local = await bed.addTrack({ path: 'x.ogg', content: fixture('music.ogg') })
      await addObject(bed, 'audio/x.ogg', fixture('music.ogg'))
      const unmounted = path.join(bed.dir, 'not-mounted')
      const env = { AUDIO_STORAGE_PATH: unmounted }
      const run = await analyzeTracksOf(bed, {}, { env })
      expect(run).toMatchObject({ exitCode: ExitCode.ok, summary: { analysed: 1, failed: 0 } })
      expect(run.messages.map(one => one['message'])).toContain(
        `no audio in the folder ${unmounted}: 1 local track skipped`,
      )
      const alone = await analyzeTracksOf(bed, { source: 'local' }, { env })
      expect(alone.exitCode).toBe(ExitCode.fatal)
      expect(alone.error).toMatchObject({ code: 'config.audio-root' })
      // As a worker does it, whose jobs name tracks.
      await bed.run(
        'analyze',
        context =>
          recordRun(context, bed.database, async run => {
            const settings = { ...analyzeDefaults, runId: run.id, stopping: run.stopping }
            const { analyzer } = await openAnalyzer(context, settings)
            const work = new AnalyzeWork(context, bed.database, analyzer, run, false)
            const end = await new NamedTracks(bed.database, run, work, 1_000).take({ ids: [local] })
            expect(end).toMatchObject({ outcome: { state: 'failed', code: 'file.missing', about: 'access' } })
            return { exitCode: ExitCode.ok, summary: {} }
          }),
        { env },
      )
      expect(await rowOf(bed, local)).toMatchObject({ analyzed_at: null, analysis_error: null })
      expect((await analyzeTracksOf(bed)).summary).toMatchObject({ analysed: 1 })
    })

    test('a run whose time is up before it has begun says so, and blames nothing', async () => {
      await addObject(bed, 'audio/x.ogg', fixture('music.ogg'))
      const stopping = new AbortController()
      stopping.abort('time-budget')
      const run = await analyzeTracksOf(bed, {}, { stopping })
      expect(run).toMatchObject({ exitCode: ExitCode.timeBudget, error: undefined, items: [] })
      expect(run.summary).toMatchObject({ message: 'Stopped before anything was analysed.' })
    })

    test('--check decodes, reports damage, and leaves the rows alone', async () => {
      const whole = fixture('music.flac')
      await addObject(bed, 'audio/whole.flac', whole)
      const cut = await addObject(bed, 'audio/cut.flac', whole.subarray(0, whole.length / 2))
      const run = await analyzeTracksOf(bed, { check: true })
      expect(run.exitCode).toBe(ExitCode.someFailed)
      expect(run.summary).toMatchObject({ check: true, checked: 2, damaged: 1, analysed: 0 })
      expect(run.items.find(item => item['state'] === 'damaged')).toMatchObject({ track_id: cut })
      expect(await rowOf(bed, cut)).toMatchObject({ analyzed_at: null, analysis_error: null })
      const again = await analyzeTracksOf(bed, { check: true, failed: true })
      expect(again.summary).toMatchObject({ checked: 1, damaged: 1 })
    })

    test('a local copy is taken for the object only where the ledger proves that it is the same', async () => {
      const content = fixture('music.ogg')
      const remote = await addObject(bed, 'audio/x.ogg', content, { file: 'x.ogg' })
      writeFileSync(path.join(bed.audioRoot, 'x.ogg'), content)
      expect((await analyzeTracksOf(bed)).summary).toMatchObject({ analysed: 1, downloads: 1 })
      const { statSource, openRoot } = await import('../../src/audio-files/source.ts')
      const { rememberFiles } = await import('../../src/db/ledger.ts')
      const sha256 = createHash('sha256').update(content).digest('hex')
      const stat = await statSource('x.ogg', plainFolder(bed.audioRoot), await openRoot(bed.audioRoot))
      const { size, mtimeNs, ctimeNs, inode, device } = stat
      await rememberFiles(bed.database.knex, [
        { path: 'x.ogg', size, mtimeNs, ctimeNs, inode, device, sha256, crc32: crc32Text(content) },
      ])
      const track = [remote]
      expect((await analyzeTracksOf(bed, { track })).summary).toMatchObject({ analysed: 1, downloads: 0 })
      expect((await analyzeTracksOf(bed, { track, source: 's3' })).summary).toMatchObject({ downloads: 1 })
      writeFileSync(path.join(bed.audioRoot, 'x.ogg'), fixture('music.opus'))
      expect((await analyzeTracksOf(bed, { track })).summary).toMatchObject({ downloads: 1 })
      expect((await analyzeTracksOf(bed, { track, source: 'local' })).summary).toMatchObject({ downloads: 0 })
    })

    test('a row that changes or goes meanwhile is left alone', async () => {
      const content = fixture('music.mp3')
      const changed = await addObject(bed, 'audio/changed.mp3', content)
      const gone = await addObject(bed, 'audio/gone.mp3', content)
      const { knex } = bed.database
      const run = await analyzeTracksOf(
        bed,
        {},
        {
          store: {
            get: async (key, options) => {
              const content = await bed.store.get(key, options)
              if (key.includes('gone')) await knex('tracks').where({ id: gone }).del()
              else {
                await knex('tracks')
                  .where({ id: changed })
                  .update({ bpm: 99, updated_at: knex.raw('now()') })
              }
              return content
            },
          },
        },
      )
      expect(run.exitCode).toBe(ExitCode.someFailed)
      expect(run.items.map(item => item['code']).sort()).toEqual(['row.changed', 'row.deleted'])
      expect(run.summary).toMatchObject({ analysed: 0, rows_changed: 2 })
      expect(await rowOf(bed, changed)).toMatchObject({ bpm: 99, analyzed_at: null, analysis_error: null })
      expect(await knex('autodj_ledger.analyses')).toEqual([])
      expect((await analyzeTracksOf(bed)).summary).toMatchObject({ analysed: 1 })
      expect(await itemPage(knex, { command: 'analyze', limit: 10 })).toEqual([])
    })

    test('a row that loses its analysis each time it is written: the run ends and names it', async () => {
      const id = await bed.addTrack({ path: 'x.mp3', content: demo('01-first-light.mp3') })
      await withTrigger(bed.database, { body: 'new.analyzed_at := null; return new;' }, async () => {
        const run = await analyzeTracksOf(bed)
        expect(run.exitCode).toBe(ExitCode.someFailed)
        expect(run.items.filter(item => item['state'] === 'failed')).toMatchObject([
          { track_id: id, code: 'row.set-back', cure: expect.stringContaining('a trigger') },
        ])
        expect(run.summary).toMatchObject({ rows_changed: 1, failed: 0 })
        await expectNoTemp(run)
      })
      const after = await analyzeTracksOf(bed, { failed: true })
      expect(after).toMatchObject({ exitCode: ExitCode.ok, summary: { analysed: 1 } })
      expect((await rowOf(bed, id)).analyzed_at).not.toBeNull()
    })

    test('Ctrl-C: what is being analysed is committed, downloads are dropped, the next run goes on', async () => {
      for (let number = 0; number < 12; number++)
        await addObject(bed, `audio/${number}.ogg`, fixture('music.ogg'))
      const stopping = new AbortController()
      let opened = 0
      const first = await analyzeTracksOf(
        bed,
        { concurrency: 1 },
        {
          stopping,
          store: {
            get: (key, options) => {
              if (++opened === 6) stopping.abort('sigint')
              return bed.store.get(key, options)
            },
          },
        },
      )
      expect(first.exitCode).toBe(ExitCode.sigint)
      await expectNoTemp(first)
      const done = first.summary['analysed'] as number
      expect(done).toBeGreaterThan(0)
      expect(done).toBeLessThan(8)
      expect(first.summary).toMatchObject({ failed: 0 })
      const second = await analyzeTracksOf(bed)
      expect(second).toMatchObject({ exitCode: ExitCode.ok, summary: { analysed: 12 - done } })
    })

    test('the disk never holds more downloads than the budget', async () => {
      const content = fixture('music.opus')
      for (let number = 0; number < 6; number++) await addObject(bed, `audio/${number}.opus`, content)
      // Rows without a size in the ledger learn theirs from the first answer.
      await addObject(bed, 'audio/unknown.opus', content, { ledger: false })
      let [open, most] = [0, 0]
      const run = await analyzeTracksOf(
        bed,
        { tempLimit: Math.floor(2.5 * content.length) },
        {
          store: {
            get: async (key, options) => {
              const found = await bed.store.get(key, options)
              if (!found) return found
              most = Math.max(most, ++open)
              const { body } = found
              const counted = {
                destroy: (error?: Error) => body.destroy(error),
                async *[Symbol.asyncIterator]() {
                  try {
                    yield* body
                  } finally {
                    open--
                  }
                },
              }
              return { ...found, body: counted }
            },
          },
        },
      )
      expect(run.summary).toMatchObject({ analysed: 7, failed: 0 })
      expect(most).toBeGreaterThan(0)
      expect(most).toBeLessThanOrEqual(3)
    })
  })
}

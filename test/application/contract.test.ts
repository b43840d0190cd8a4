/**
 * What the application's schemas want of its rows, in our own words, after every step of the journey; and of the answers
 * of `serve`. A value of another kind and its lists answer 500.
 */
import { randomUUID } from 'node:crypto'
import { copyFile, mkdir } from 'node:fs/promises'
import path from 'node:path'
import { Ajv } from 'ajv'
import addFormats from 'ajv-formats'
import { describe, expect, test } from 'vitest'
import { plainFolder } from '../../src/core/audio-path.ts'
import { applicationKeys } from '../../src/core/settings-files.ts'
import { createApi } from '../../src/server/api.ts'
import { createFileOpener } from '../../src/server/audio-file.ts'
import { createMetrics } from '../../src/server/metrics.ts'
import { createTrackReader } from '../../src/server/track-reader.ts'
import { applicationHome } from '../support/application-home.ts'
import { testPostgres } from '../support/servers.ts'

const postgres = testPostgres()

const orNull = (schema: object) => ({ anyOf: [schema, { type: 'null' }] })
const number = orNull({ type: 'number' })
const text = orNull({ type: 'string' })
const numbers = orNull({ type: 'array', items: { type: 'number' } })
const spans = (...names: string[]) =>
  orNull({
    type: 'array',
    items: {
      type: 'object',
      required: names,
      properties: Object.fromEntries(
        names.map(name => [name, { type: name === 'beats_aligned' ? 'boolean' : 'number' }]),
      ),
    },
  })

const summary = {
  id: { type: 'string', format: 'uuid' },
  spotify_id: { type: 'string' },
  title: { type: 'string' },
  artist: { type: 'string' },
  duration: number,
  file_source: { enum: ['LOCAL', 'YOUTUBE', 'S3', 'UNAVAILABLE'] },
  bpm: number,
  key: text,
  energy: number,
  beat_timestamps: numbers,
  beat_intervals: numbers,
  beat_confidence: number,
  beat_confidence_scores: numbers,
  beat_regularity: number,
  average_beat_interval: number,
  dominant_style: text,
  style_scores: orNull({ type: 'object' }),
  style_confidence: number,
  mix_in_point: number,
  mix_out_point: number,
  mixable_sections: spans('start', 'end', 'energy', 'beats_aligned'),
  intro_end: number,
  outro_start: number,
  intro_energy: number,
  outro_energy: number,
  energy_profile: spans('time', 'energy'),
  vocal_sections: spans('start', 'end', 'confidence'),
  instrumental_sections: spans('start', 'end', 'confidence'),
}
const whole = {
  ...summary,
  album: text,
  duration_ms: number,
  popularity: number,
  preview_url: text,
  file_path: text,
  file_size: number,
  danceability: number,
  valence: number,
  acousticness: number,
  instrumentalness: number,
  liveness: number,
  speechiness: number,
  loudness: number,
  analysis_version: text,
  analysis_error: text,
  created_at: { type: 'string', format: 'date-time' },
}
const job = {
  playlist_url: { type: 'string' },
  status: { enum: ['PENDING', 'PROCESSING', 'COMPLETED', 'FAILED'] },
  total_tracks: { type: 'integer' },
  analyzed_tracks: { type: 'integer' },
  downloaded_tracks: { type: 'integer' },
  failed_tracks: { type: 'integer' },
  error_details: orNull({ type: 'object' }),
  result: orNull({ type: 'object' }),
  options: orNull({ type: 'object' }),
}
const ajv = new Ajv({ allErrors: true })
addFormats.default(ajv)
const listOf = (properties: object) =>
  ajv.compile({ type: 'array', items: { type: 'object', properties, required: Object.keys(properties) } })
const trackRows = listOf(whole)
const jobRows = listOf(job)
const summaries = listOf(summary)

const steps: readonly string[][] = [
  ['migrate'],
  ['import'],
  ['upload-local'],
  ['analyze'],
  ['upload-local', '--enqueue', '--retry-failed'],
  ['worker', '--until-empty'],
  ['cleanup', '--apply', '--older-than', '0s'],
  ['restore', '--limit', '1'],
]

describe.skipIf(postgres === undefined)("the application's schemas", () => {
  test('hold for every row and every answer, after every step', { timeout: 300_000 }, async () => {
    await using home = await applicationHome(postgres!, 'c16dd5ffbdbd')
    const { db } = home
    // Its validator refuses any other key.
    expect(Object.keys(home.settings).filter(key => !applicationKeys.has(key))).toEqual([])
    await mkdir(path.join(home.folder, 'audio/Artist'), { recursive: true })
    for (const name of ['01-first-light.mp3', '05-relay.wav']) {
      await copyFile(path.resolve('assets/demo', name), path.join(home.folder, 'audio/Artist', name))
    }
    const gone = { id: randomUUID(), spotify_id: 'gone', title: 'Gone', artist: 'A' }
    await db.knex('tracks').insert({ ...gone, file_source: 'LOCAL', file_path: 'audio/A/Gone.mp3' })

    for (const argv of steps) {
      const result = await home.run([...argv, '-q'])
      expect([0, 3], `${argv.join(' ')}: ${result?.output}`).toContain(result?.exitCode)
      for (const [table, validate] of [
        ['tracks', trackRows],
        ['analysis_jobs', jobRows],
      ] as const) {
        const rows = JSON.parse(JSON.stringify(await db.knex(table)))
        validate(rows)
        expect(validate.errors, `${table} after ${argv.join(' ')}`).toBeNull()
      }
    }
    expect((await db.knex('analysis_jobs')).length).toBeGreaterThan(0)
    expect(await db.knex('tracks').whereNotNull('mixable_sections')).toHaveLength(2)

    const app = await createApi({
      reader: createTrackReader(db.knex),
      objectUrls: undefined,
      openFile: createFileOpener(plainFolder(path.join(home.folder, 'audio'))),
      checkBucket: undefined,
      metrics: createMetrics({ process: false }),
      now: () => new Date(),
      corsOrigins: ['http://localhost:3000'],
      publicUrl: undefined,
      trustProxy: false,
      onFailure: () => {},
    })
    try {
      const ask = async (url: string) =>
        (await app.inject({ url, headers: { origin: 'http://localhost:3000' } })).json()
      for (const url of ['', 'search/?q=ar']) {
        summaries(await ask(`/api/v1/tracks/${url}`))
        expect(summaries.errors, url).toBeNull()
      }
      trackRows([await ask(`/api/v1/tracks/${gone.id}`)])
      expect(trackRows.errors).toBeNull()
    } finally {
      await app.close()
    }
  })

  test('rows do not say S3 while the code may be too old to read that', { timeout: 120_000 }, async () => {
    await using home = await applicationHome(postgres!, 'd586b7432ebd')
    const { db } = home
    await mkdir(path.join(home.folder, 'audio/A'), { recursive: true })
    await copyFile(path.resolve('assets/demo/01-first-light.mp3'), path.join(home.folder, 'audio/A/T.mp3'))
    const run = (...argv: string[]) => home.run(argv)
    expect((await run('migrate'))?.output).toMatch(/at revision d586b7432ebd.* answers with error 500/)
    await run('import')
    for (const argv of [
      ['upload-local'],
      ['fetch'],
      ['upload-local', '--enqueue'],
      ['worker', '--until-empty'],
    ]) {
      const refused = await run(...argv)
      expect([argv, refused?.exitCode]).toEqual([argv, 1])
      expect(refused?.output).toMatch(/--application-updated/)
    }
    expect(await db.knex('tracks').pluck('file_source')).toEqual(['LOCAL'])
    expect((await run('upload-local', '--dry-run'))?.exitCode).toBe(0)
    expect((await run('migrate', '--application-updated'))?.exitCode).toBe(0)
    expect((await run('upload-local'))?.exitCode).toBe(0)
    expect(await db.knex('tracks').pluck('file_source')).toEqual(['S3'])
  })
})

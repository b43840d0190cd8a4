/**
 * 500 rows of every form of path that libraries hold, in the application's own default set-up (`./audio`, its `.env`, its
 * role). What the application can open or redirect to before a command it can after it, at every step, with kill -9 at
 * random steps of the work in between.
 */
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { migrateUp } from '../../src/db/migrate.ts'
import { applicationHome } from '../support/application-home.ts'
import { fakeAudio } from '../support/bed.ts'
import { testPostgres } from '../support/servers.ts'

const postgres = testPostgres()
const rows = Number(process.env['TEST_PATH_ROWS'] ?? 500)
const killsPerStep = Number(process.env['TEST_PATH_KILLS'] ?? 1)

/** How a file `Artist/Title.flac` of the folder may stand in a row. */
const forms: readonly ((relative: string, home: string) => string)[] = [
  relative => `audio/${relative}`,
  relative => `audio/${relative}`,
  relative => `./audio/${relative}`,
  (relative, home) => path.join(home, 'audio', relative),
  (relative, home) => path.join(home, 'audio', '..', 'audio', relative),
  relative => `/app/audio/${relative}`,
  relative => `C:\\app\\audio\\${relative.replaceAll('/', '\\')}`,
  relative => `audio\\${relative.replaceAll('/', '\\')}`,
  relative => `file:///app/audio/${encodeURI(relative)}`,
  relative => relative,
]

const steps: readonly string[][] = [
  ['migrate'],
  ['import'],
  ['upload-local'],
  ['reconcile', '--disk', '--force'],
  ['cleanup', '--apply', '--older-than', '0s'],
  ['restore'],
  ['import'],
]

describe.skipIf(postgres === undefined)('paths of every form', () => {
  test(`${rows} rows: what the application can play it still can, at every step`, {
    timeout: 600_000,
  }, async () => {
    await using home = await applicationHome(postgres!, 'c16dd5ffbdbd')
    const { db, bucket } = home
    for (let index = 0; index < rows; index++) {
      const relative = `Ärtist ${index % 20}/Títle ${index}.flac`
      await mkdir(path.dirname(path.join(home.folder, 'audio', relative)), { recursive: true })
      await writeFile(path.join(home.folder, 'audio', relative), fakeAudio(2_000, index))
      const id = randomUUID()
      await db.knex('tracks').insert({
        id,
        spotify_id: id,
        title: `Títle ${index}`,
        artist: `Ärtist ${index % 20}`,
        file_source: index % 3 === 0 ? 'LOCAL' : 'YOUTUBE',
        file_path: forms[index % forms.length]!(relative, home.folder),
      })
    }

    /** The application's view: `Path(file_path)` opened from its working directory, or a redirect to the object. */
    async function playable(): Promise<Set<string>> {
      const objects = new Set<string>()
      for await (const page of bucket.store.list()) for (const { key } of page) objects.add(key)
      const tracks = await db
        .knex('tracks')
        .select('title', 'file_path', 'file_source', 's3_object_key')
        .catch(() => db.knex('tracks'))
      return new Set(
        tracks
          .filter(row =>
            row.file_source === 'S3'
              ? objects.has(row.s3_object_key)
              : row.file_path !== null && existsSync(path.resolve(home.folder, row.file_path)),
          )
          .map(row => row.title as string),
      )
    }

    let before = await playable()
    // Five of the ten forms can be opened from there.
    expect(before.size).toBe(rows / 2)
    for (const argv of steps) {
      let needed = 400
      for (let kill = 0; kill <= killsPerStep; kill++) {
        const isLast = kill === killsPerStep
        const killAt = isLast ? undefined : 20 + Math.floor(Math.random() * needed)
        const result = await home.run([...argv, '-q'], killAt)
        needed = result?.steps ?? needed * 3
        const after = await playable()
        const lost = [...before].filter(title => !after.has(title))
        expect(lost, `${argv.join(' ')}, ${isLast ? 'to its end' : `killed at step ${killAt}`}`).toEqual([])
        before = after
        if (isLast)
          expect([argv[0], result?.exitCode, result?.output]).toEqual([
            argv[0],
            expect.any(Number),
            expect.any(String),
          ])
      }
    }
    expect(before.size).toBe(rows)
    // And every row ends in a form that the application opens.
    const local = await db.knex('tracks').whereNot({ file_source: 'S3' }).pluck('file_path')
    expect(local.filter(one => !existsSync(path.resolve(home.folder, one)))).toEqual([])
    await migrateUp(db)
  })
})

/** What only a server with several connections shows: an application that holds a row while its file is about to go. */
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { cleanup } from '../contract/safety.ts'
import { upload } from '../contract/upload.ts'
import { fakeAudio } from '../support/bed.ts'
import { embeddedBed } from '../support/beds.ts'
import { postgresTestDatabase } from '../support/database.ts'
import { testPostgres } from '../support/servers.ts'

const postgres = testPostgres()

describe.skipIf(postgres === undefined)(
  'an application that holds the row of a file that is about to go',
  () => {
    test.each([
      ['says that it lives on its file again', { file_source: 'LOCAL', s3_object_key: null }],
      ['gives it another object', { s3_object_key: 'audio/another.flac' }],
      ['gives it another file', { file_path: 'b.flac' }],
    ])('and %s: the file stays', async (_, change) => {
      const { bed } = await embeddedBed(await postgresTestDatabase(postgres as string))
      try {
        const content = fakeAudio(3_000, 1)
        const id = await bed.addTrack({ path: 'a.flac', content })
        writeFileSync(path.join(bed.audioRoot, 'b.flac'), fakeAudio(3_000, 2))
        expect((await upload(bed)).exitCode).toBe(0)
        const { knex } = bed.database
        const application = await knex.transaction()
        await application('tracks').where({ id }).forUpdate().select('id')
        // It waits by asking again: its first try to lock the row has been answered.
        const tried = Promise.withResolvers<void>()
        const see = (_: unknown, { sql }: { sql: string }): void => {
          if (/\btracks\b[^;]*for (no key )?update/is.test(sql)) tried.resolve()
        }
        knex.on('query-response', see).on('query-error', see)
        const running = cleanup(bed)
        await tried.promise
        await application('tracks').where({ id }).update(change)
        await application.commit()
        expect((await running).items).toMatchObject([{ state: 'kept', code: 'row.changed' }])
        expect(readFileSync(path.join(bed.audioRoot, 'a.flac')).equals(content)).toBe(true)
      } finally {
        await bed.close()
      }
    })
  },
)

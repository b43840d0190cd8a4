/** Rows that the application keeps locked, under every command that writes rows and does not claim them. */
import { renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { ExitCode } from '../../src/errors.ts'
import { runImport } from '../../src/import/run.ts'
import { apply, cleanup, restore, savePlan, undo } from '../contract/safety.ts'
import { upload } from '../contract/upload.ts'
import { type BedRun, fakeAudio, type TestBed } from '../support/bed.ts'
import { embeddedBed } from '../support/beds.ts'
import { postgresTestDatabase } from '../support/database.ts'
import { testPostgres } from '../support/servers.ts'

const postgres = testPostgres()

const importFiles = (bed: TestBed): Promise<BedRun> =>
  bed.run('import', context =>
    runImport(context, {
      ...{ dir: undefined, dryRun: false, concurrency: undefined, minAge: undefined },
      lockWait: 200,
    }),
  )

const file = (bed: TestBed, number: number): string => path.join(bed.audioRoot, `${number}.flac`)

const uploaded = async (bed: TestBed): Promise<void> => {
  for (const number of [1, 2, 3])
    await bed.addTrack({ path: `${number}.flac`, content: fakeAudio(3_000, number) })
  expect((await upload(bed)).exitCode).toBe(ExitCode.ok)
}

const planned = async (bed: TestBed): Promise<string> => {
  const state = { key: null, size: null, path: null }
  const ids = [1, 2, 3].map(() => bed.addTrack({ path: null }))
  const actions = (await Promise.all(ids)).map((trackId, at) => ({
    ...{ action: 'update-row' as const, trackId, title: `${at}`, artist: 'A' },
    was: { ...state, source: 'LOCAL' as const },
    becomes: { ...state, source: 'UNAVAILABLE' as const },
  }))
  return savePlan(bed, 'locked.plan', actions)
}

/** What is done to three rows; all of it is counted under the name that is given. */
const commands: readonly {
  name: string
  prepare: (bed: TestBed) => Promise<(bed: TestBed) => Promise<BedRun>>
  counted: string
}[] = [
  {
    name: 'restore',
    async prepare(bed) {
      await uploaded(bed)
      for (const number of [1, 2, 3]) rmSync(file(bed, number))
      return restore
    },
    counted: 'rows_switched',
  },
  {
    name: 'cleanup of local copies',
    async prepare(bed) {
      await uploaded(bed)
      return cleanup
    },
    counted: 'removed',
  },
  {
    name: 'cleanup of paths whose files are gone',
    async prepare(bed) {
      await uploaded(bed)
      for (const number of [1, 2, 3]) rmSync(file(bed, number))
      // Not an unmounted folder.
      writeFileSync(file(bed, 4), fakeAudio(3_000, 4))
      return cleanup
    },
    counted: 'removed',
  },
  {
    name: 'import of files that moved',
    async prepare(bed) {
      await uploaded(bed)
      await bed.database.knex('tracks').update({ file_source: 'LOCAL', s3_object_key: null })
      await importFiles(bed)
      for (const number of [1, 2, 3]) renameSync(file(bed, number), file(bed, number + 3))
      return importFiles
    },
    counted: 'relinked',
  },
  {
    name: 'apply',
    async prepare(bed) {
      const plan = await planned(bed)
      return some => apply(some, plan)
    },
    counted: 'done',
  },
  {
    name: 'undo',
    async prepare(bed) {
      const plan = await planned(bed)
      expect((await apply(bed, plan)).exitCode).toBe(ExitCode.ok)
      return some => undo(some, plan)
    },
    counted: 'undone',
  },
]

describe.runIf(postgres)('rows that another transaction keeps locked', () => {
  test.each(commands)(
    '$name waits for them, counts them and says to run it again',
    async ({ prepare, counted }) => {
      const { bed } = await embeddedBed(await postgresTestDatabase(postgres!))
      try {
        const work = await prepare(bed)
        const trx = await bed.database.knex.transaction()
        await trx('tracks').forUpdate().select('id')
        const locked = await work(bed).finally(() => trx.rollback())
        expect(locked.error).toBeUndefined()
        expect(locked.exitCode).toBe(ExitCode.temporary)
        expect(locked.summary).toMatchObject({ rows_locked: 3, [counted]: 0 })
        const free = await work(bed)
        expect(free.exitCode).toBe(ExitCode.ok)
        expect(free.summary).toMatchObject({ rows_locked: 0, [counted]: 3 })
      } finally {
        await bed.close()
      }
    },
  )
})

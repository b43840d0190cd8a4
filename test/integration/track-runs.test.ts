import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ExitCode } from '../../src/errors.ts'
import { NamedTracks } from '../../src/runs/named-tracks.ts'
import { recordRun } from '../../src/runs/recorded-run.ts'
import { trackRunsContract } from '../contract/track-runs.ts'
import type { TestBed } from '../support/bed.ts'
import { embeddedBed } from '../support/beds.ts'
import { postgresTestDatabase } from '../support/database.ts'
import { testPostgres } from '../support/servers.ts'

const postgres = testPostgres()

if (postgres) {
  const openBed = async () => (await embeddedBed(await postgresTestDatabase(postgres))).bed
  trackRunsContract('PostgreSQL and the embedded S3 server', openBed, { locking: true })

  describe('one track that is named, and that another transaction has locked', () => {
    let bed: TestBed
    beforeAll(async () => {
      bed = await openBed()
    })
    afterAll(() => bed.close())

    test.each([
      { what: 'is waited for', lockedFor: 300, lockWait: 60_000, state: 'left-out' },
      { what: 'is given up for now if it stays so', lockedFor: undefined, lockWait: 200, state: 'locked' },
    ])('$what', async ({ lockedFor, lockWait, state }) => {
      const id = await bed.addTrack({ path: `${state}.mp3` })
      const { knex } = bed.database
      const locked = await knex.transaction()
      await locked('public.tracks').where({ id }).forUpdate().select('id')
      const unlock = async (): Promise<void> => void (locked.isCompleted() || (await locked.rollback()))
      const letting = lockedFor === undefined ? undefined : sleep(lockedFor).then(unlock)
      try {
        await bed.run('toy', context =>
          recordRun(context, bed.database, async run => {
            const never = async (): Promise<never> => {
              throw new Error('not to be reached')
            }
            const work = {
              ...{ command: 'toy', claim: 'toy', settles: ['toy'], setBack: { reason: '', cure: '' } },
              ...{
                prepare: async () => [],
                take: never,
                commit: never,
                problemOf: () => undefined,
                tell() {},
              },
            }
            const tracks = new NamedTracks(bed.database, run, work, lockWait)
            expect(await tracks.take({ ids: [id] })).toEqual({ state })
            return { exitCode: ExitCode.ok, summary: {} }
          }),
        )
      } finally {
        await unlock()
        await letting
      }
    })
  })
} else describe.skip('runs over tracks on PostgreSQL', () => test('is skipped', () => {}))

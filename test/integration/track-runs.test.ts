import { describe, test } from 'vitest'
import { trackRunsContract } from '../contract/track-runs.ts'
import { embeddedBed } from '../support/beds.ts'
import { postgresTestDatabase } from '../support/database.ts'
import { testPostgres } from '../support/servers.ts'

const postgres = testPostgres()

if (postgres)
  trackRunsContract(
    'PostgreSQL and the embedded S3 server',
    async () => (await embeddedBed(await postgresTestDatabase(postgres))).bed,
    { locking: true },
  )
else describe.skip('runs over tracks on PostgreSQL', () => test('is skipped', () => {}))

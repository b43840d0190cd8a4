import { describe, test } from 'vitest'
import { uploadContract } from '../contract/upload.ts'
import { realBed } from '../support/beds.ts'
import { postgresTestDatabase } from '../support/database.ts'
import { testPostgres, testS3 } from '../support/servers.ts'

const [postgres, s3] = [testPostgres(), testS3()]

if (postgres && s3)
  uploadContract('PostgreSQL and a real S3 server', async () =>
    realBed(await postgresTestDatabase(postgres), s3),
  )
else describe.skip('upload-local on PostgreSQL and a real S3 server', () => test('is skipped', () => {}))

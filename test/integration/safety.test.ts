import { PutBucketVersioningCommand, S3Client } from '@aws-sdk/client-s3'
import { describe, test } from 'vitest'
import { safetyContract } from '../contract/safety.ts'
import { realBed } from '../support/beds.ts'
import { postgresTestDatabase } from '../support/database.ts'
import { testPostgres, testS3 } from '../support/servers.ts'

const [postgres, s3] = [testPostgres(), testS3()]

if (postgres && s3)
  safetyContract('PostgreSQL and a real S3 server', async ({ versioned = false } = {}) => {
    const bed = await realBed(await postgresTestDatabase(postgres), s3)
    if (versioned) {
      const admin = new S3Client({ ...s3, forcePathStyle: true })
      const { bucket } = bed.access
      const VersioningConfiguration = { Status: 'Enabled' } as const
      await admin.send(new PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration }))
      admin.destroy()
    }
    return bed
  })
else describe.skip('nothing lost on PostgreSQL and a real S3 server', () => test('is skipped', () => {}))

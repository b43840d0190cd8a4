import { embeddedBed } from '../support/beds.ts'
import { pgliteTestDatabase } from '../support/database.ts'
import { safetyContract } from './safety.ts'

safetyContract('PGlite and the embedded S3 server', async ({ versioned = false } = {}) => {
  const buckets = [versioned ? { name: 'music', versioning: 'Enabled' as const } : 'music']
  return (await embeddedBed(await pgliteTestDatabase(), { buckets })).bed
})

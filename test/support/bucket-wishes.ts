/** What is asked of a bucket where a test says nothing else. */
import type { Wishes } from '../../src/core/bucket/assessment.ts'

export const wishes: Wishes = {
  bucket: 'music',
  keyPrefix: 'audio/',
  origins: [],
  versioning: false,
  quarantine: { prefix: 'quarantine/', days: 30 },
  stagingPrefix: 'audio/.incoming/',
}

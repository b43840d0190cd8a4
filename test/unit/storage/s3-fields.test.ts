/** Whether an object can be read, and for how long, by what a store says of it. */
import { expect, test } from 'vitest'
import { wireHead } from '../../../src/storage/s3-fields.ts'

const where = { method: 'HEAD', url: 'http://127.0.0.1/' } as unknown as Parameters<typeof wireHead>[2]
const day = 86_400_000
const copy = (days: number): string =>
  `ongoing-request="false", expiry-date="${new Date(Date.now() + days * day).toUTCString()}"`

test.each([
  ['STANDARD', undefined, undefined, undefined, undefined],
  ['GLACIER_IR', undefined, undefined, undefined, undefined],
  ['GLACIER', undefined, undefined, 'archived', undefined],
  ['DEEP_ARCHIVE', 'ongoing-request="true"', undefined, 'restoring', undefined],
  ['GLACIER', 'ongoing-request="false"', undefined, 'archived', undefined],
  ['GLACIER', copy(2), undefined, undefined, 2],
  // The header outlives the copy.
  ['DEEP_ARCHIVE', copy(-1), undefined, 'archived', undefined],
  // Intelligent-Tiering brings it back for good.
  ['INTELLIGENT_TIERING', copy(2), 'ARCHIVE_ACCESS', undefined, undefined],
  ['INTELLIGENT_TIERING', undefined, 'DEEP_ARCHIVE_ACCESS', 'archived', undefined],
])('%s, %s, %s: %s, for %s days', (storageClass, restore, status, archive, days) => {
  const head = wireHead(
    'audio/a.mp3',
    {
      etag: '"e"',
      'content-length': '1',
      'x-amz-storage-class': storageClass,
      ...(restore === undefined ? {} : { 'x-amz-restore': restore }),
      ...(status === undefined ? {} : { 'x-amz-archive-status': status }),
    },
    where,
  )
  expect(head.archive).toBe(archive)
  const until = head.restoredUntil && Math.round((head.restoredUntil.getTime() - Date.now()) / day)
  expect(until).toBe(days)
})

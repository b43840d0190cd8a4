/** What an S3 Inventory names is what the bucket holds: no older version, and no delete marker. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openInventory } from '../../../src/storage/inventory.ts'
import { embeddedBucket } from '../../support/embedded-s3.ts'
import { putInventory } from '../../support/inventory.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const tempFolder = temporaryFolder('inventory')
let bucket: Awaited<ReturnType<typeof embeddedBucket>>
beforeAll(async () => {
  bucket = await embeddedBucket()
  const headers = { contentType: 'audio/mpeg' }
  for (const key of ['audio/A/1.mp3', 'audio/A + B & "C", 50%/2.mp3', 'audio/é/3.mp3', 'audio/A/4.mp3'])
    await bucket.store.put(key, Buffer.from(`audio ${key}`), { headers, checksums: {} })
})
afterAll(() => bucket.close())

interface Named {
  key: string
  size: number
  etag: string
}
const byKey = (all: readonly Named[]): Named[] =>
  all.toSorted((a, b) => (a.key < b.key ? -1 : 1)).map(({ key, size, etag }) => ({ key, size, etag }))

test.each(['CSV', 'Parquet'] as const)('in %s', async format => {
  const { store } = bucket
  const url = await putInventory(store, format)
  const key = url.slice(`s3://${store.bucket}/`.length)
  const inventory = await openInventory(store, key, { sourceBucket: store.bucket, tempFolder })
  const named = (await Array.fromAsync(inventory.pages)).flat()
  const listed = (await Array.fromAsync(store.list({ prefix: 'audio/' }))).flat()
  expect(listed).toHaveLength(4)
  expect(byKey(named)).toEqual(byKey(listed))
})

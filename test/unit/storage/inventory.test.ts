/** What an S3 Inventory names is what the bucket holds: no older version, and no delete marker. */
import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ExternalSorter } from '../../../src/external-sort/sorter.ts'
import { readInventory } from '../../../src/reconcile/inventory.ts'
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

const csvSchema = 'Bucket, Key, Size, LastModifiedDate, ETag'
const time = '2026-01-02T03:04:05.000Z'
const md5 = (bytes: Uint8Array) => createHash('md5').update(bytes).digest('hex')
const named = (key: string, bytes: Uint8Array) => ({ key, size: bytes.length, MD5checksum: md5(bytes) })

async function readCsv(
  lines: readonly string[],
  { fileSchema = csvSchema, files = 1 }: { fileSchema?: string; files?: number } = {},
) {
  const { store } = bucket
  const bytes = gzipSync(lines.join('\n'))
  const put = (key: string, body: Uint8Array) =>
    store.put(key, body, { headers: { contentType: 'x/y' }, checksums: {} })
  await put('odd/data.csv.gz', bytes)
  const manifest = {
    sourceBucket: store.bucket,
    creationTimestamp: '1767323045000',
    fileFormat: 'CSV',
    fileSchema,
    files: Array.from({ length: files }, () => named('odd/data.csv.gz', bytes)),
  }
  await put('odd/manifest.json', Buffer.from(JSON.stringify(manifest)))
  const from = { sourceBucket: store.bucket, tempFolder }
  return Array.fromAsync((await openInventory(store, 'odd/manifest.json', from)).pages)
}

test.each<[string, (name: string) => string, RegExp]>([
  ['a size that is none', name => `"${name}","a","1e3","${time}","e"`, /of "a" it tells no size/],
  ['no size', name => `"${name}","a","","${time}","e"`, /of "a" it tells no size/],
  ['a time that is none', name => `"${name}","a","1","yesterday","e"`, /of "a" it tells no time/],
  ['no ETag', name => `"${name}","a","1","${time}",""`, /of "a" it tells no ETag/],
  ['no key', name => `"${name}","","1","${time}","e"`, /without a key/],
  ['another bucket', () => `"other","a","1","${time}","e"`, /lists the bucket other, not/],
])('%s: refused as damaged', async (_, line, message) => {
  await expect(readCsv([line(bucket.store.bucket)])).rejects.toMatchObject({
    code: 'inventory.damaged',
    message: expect.stringMatching(message),
  })
})

test('of versions without which is the latest, and of one file twice, nothing is read', async () => {
  const line = `"${bucket.store.bucket}","a","1","${time}","e","v"`
  await expect(readCsv([line], { fileSchema: `${csvSchema}, VersionId` })).rejects.toMatchObject({
    code: 'inventory.columns',
    message: 'the inventory has no IsLatest',
  })
  await expect(readCsv([line], { files: 2 })).rejects.toMatchObject({ code: 'inventory.format' })
})

test('a key that is listed twice is no inventory of a bucket', async () => {
  const { store } = bucket
  const line = `"${store.bucket}","a","1","${time}","e"`
  await readCsv([line, line])
  const place = { sorter: new ExternalSorter(tempFolder, 'twice'), tempFolder }
  const library = { bucket: store.bucket, prefix: '', except: 'quarantine/' }
  const { pages } = await readInventory(store, 'odd/manifest.json', library, place)
  await expect(Array.fromAsync(pages)).rejects.toThrow('the inventory lists "a" twice')
})

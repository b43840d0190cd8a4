/** What is made of a single look at an object. */
import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { createObjectInspector } from '../../../src/reconcile/object-inspector.ts'
import type { ObjectHead, ObjectStore } from '../../../src/storage/store.ts'

const sha256 = createHash('sha256').update('audio').digest('hex')
const base: ObjectHead = {
  key: 'a',
  size: 5,
  etag: 'e',
  lastModified: new Date(7),
  metadata: {},
  checksums: {},
}
const facts = { key: 'a', size: 5, etag: 'e', lastModified: 7 }
const inspect = (head: ObjectHead | undefined) =>
  createObjectInspector({ head: async () => head } as unknown as ObjectStore).head('a')

test.each<[string, Partial<ObjectHead>, object]>([
  ['nothing', {}, { sums: {} }],
  [
    'its sums',
    { checksums: { sha256: Buffer.from(sha256, 'hex').toString('base64'), crc64nvme: 'c64', crc32: 'c32' } },
    { sums: { sha256, crc64nvme: 'c64', crc32: 'c32' } },
  ],
  [
    'its headers',
    { contentType: 'audio/flac', cacheControl: 'no-store' },
    { sums: {}, contentType: 'audio/flac', cacheControl: 'no-store' },
  ],
  [
    'whose it is',
    { metadata: { sha256, 'track-id': 't' } },
    { sums: {}, declaredSha256: sha256, trackId: 't' },
  ],
  ['a word that is no sum', { metadata: { sha256: 'none' } }, { sums: {} }],
  ['a sum and more', { metadata: { sha256: `${sha256}0` } }, { sums: {} }],
  ['more and a sum', { metadata: { sha256: `0${sha256}` } }, { sums: {} }],
  ['that it is in an archive', { archive: 'restoring' }, { sums: {}, archive: 'restoring' }],
])('a HEAD that tells %s', async (_, told, head) => {
  expect(await inspect({ ...base, ...told })).toStrictEqual({ ...facts, head })
})

test('an object that is gone', async () => {
  expect(await inspect(undefined)).toBeUndefined()
})

test('its type by the first of its bytes, as long as it is that very object', async () => {
  const asked: unknown[] = []
  const typeOf = async (bytes: Buffer | undefined) => {
    const store = {
      async get(
        _key: string,
        { range, ifMatch }: { range: { start: number; end: number }; ifMatch: string },
      ) {
        asked.push([range.start, range.end, ifMatch])
        return bytes && { body: [bytes.subarray(range.start, range.end + 1)] }
      },
    } as unknown as ObjectStore
    return createObjectInspector(store).type({ ...facts, size: bytes?.length ?? 5 })
  }
  const flac = Buffer.alloc(100)
  flac.write('fLaC')
  expect(await typeOf(flac)).toBe('audio/flac')
  expect(await typeOf(Buffer.from('text '))).toBe('')
  expect(await typeOf(undefined)).toBe('')
  expect(await typeOf(Buffer.alloc(0))).toBe('')
  for (const [start, end, ifMatch] of asked as [number, number, string][]) {
    expect(ifMatch).toBe('e')
    expect(end).toBeGreaterThanOrEqual(start)
    expect(end).toBeLessThan(100)
  }
})

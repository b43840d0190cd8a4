/**
 * What every ObjectStore does, whichever server is behind it. Run against the embedded server by
 * `object-store.test.ts`, and against real ones by `test/integration/object-store.test.ts`.
 */
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compareUtf8 } from '../../src/core/utf8-order.ts'
import {
  type ObjectEntry,
  type ObjectHeaders,
  type ObjectStore,
  StoreError,
  type StoreErrorKind,
} from '../../src/storage/store.ts'

/**
 * Where a server is known to differ from AWS. What is `false` is turned into a check that the store says so, or
 * skipped aloud; nothing else is.
 */
export interface Capabilities {
  /** The bucket keeps versions (`Enabled`). */
  versions: boolean
  /** DeleteObject with If-Match. */
  conditionalDelete: boolean
  /** UploadPartCopy of a range has the checksum of that range. */
  copyParts: boolean
  /** A part of a key between two slashes may be longer than 255 bytes: false for stores on a file system. */
  longSegments: boolean
  /** Keys where one is a "directory" of another: `a` and `a/b`, `a//b`. */
  nestedKeys: boolean
  /** Object tags are stored from the header of a put. */
  tags: boolean
}

export const likeAws: Capabilities = {
  versions: false,
  conditionalDelete: true,
  copyParts: true,
  longSegments: true,
  nestedKeys: true,
  tags: true,
}

const headers: ObjectHeaders = {
  contentType: 'audio/flac',
  cacheControl: 'public, max-age=31536000, immutable',
  metadata: { sha256: 'ab'.repeat(32), 'track-id': '0b5e7a3e-2f8c-4a52-9a43-0d3a0d6f1c11' },
}

const MiB = 1024 * 1024

/** Limits of `createS3Store` under which the contract walks through copying in parts. */
export const smallCopies = { singleMax: 6 * MiB, partSize: 5 * MiB }

function crc(body: Uint8Array, before = 0): string {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(crc32(body, before))
  return bytes.toString('base64')
}

const sha256 = (body: Uint8Array) => createHash('sha256').update(body).digest('base64')

async function bytesOf(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of body) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function refusal(promise: Promise<unknown>): Promise<StoreError> {
  const thrown = await promise.then(
    () => undefined,
    error => error,
  )
  expect(thrown, 'should have been refused').toBeInstanceOf(StoreError)
  return thrown
}

async function refusedWith(kind: StoreErrorKind, promise: Promise<unknown>): Promise<StoreError> {
  const error = await refusal(promise)
  expect({ kind: error.kind, message: error.message }).toMatchObject({ kind })
  expect(error.message).not.toContain('\n')
  if (kind !== 'aborted') expect(error.cure).toMatch(/^[^\n]+$/)
  return error
}

export function objectStoreContract(
  name: string,
  makeStore: () => Promise<{ store: ObjectStore; close?: () => Promise<void> }>,
  capabilities: Capabilities = likeAws,
): void {
  describe(`object store contract: ${name}`, { concurrent: false }, () => {
    let store: ObjectStore
    let close: (() => Promise<void>) | undefined
    const root = `contract-${randomUUID().slice(0, 8)}/`
    let count = 0
    /** A prefix of its own for each test: they share a bucket. */
    const fresh = () => `${root}${String(++count).padStart(3, '0')}/`

    beforeAll(async () => {
      const made = await makeStore()
      store = made.store
      close = made.close
    })

    afterAll(async () => {
      if (!store) return
      for await (const uploads of store.listUploads({ prefix: root })) {
        for (const { key, uploadId } of uploads) await store.abortUpload(key, uploadId)
      }
      if (capabilities.versions) {
        const all = await Array.fromAsync(store.listVersions({ prefix: root }))
        await store.delete(all.flat().map(({ key, versionId }) => ({ key, versionId })))
      } else for await (const page of store.list({ prefix: root })) await store.delete(page)
      store.close()
      await close?.()
    })

    async function keysUnder(prefix: string, startAfter?: string): Promise<string[]> {
      const keys: string[] = []
      for await (const page of store.list({ prefix, startAfter })) keys.push(...page.map(entry => entry.key))
      return keys
    }

    const putText = (key: string, text = key, extra: { ifNoneMatch?: boolean } = {}) => {
      const body = Buffer.from(text)
      return store.put(key, body, { headers, checksums: { crc32: crc(body) }, ...extra })
    }

    async function textAt(key: string): Promise<string | undefined> {
      const content = await store.get(key)
      return content && (await bytesOf(content.body)).toString()
    }

    test('the bucket can be used', async () => {
      await store.checkBucket()
    })

    describe('put, head, get', () => {
      for (const size of [0, 1, 65_536, 524_288, 524_289, 3 * MiB + 17]) {
        test(`${size} bytes come back with headers, metadata and checksum`, async () => {
          const key = `${fresh()}artist/title.flac`
          const body = randomBytes(size)
          const put = await store.put(key, body, {
            headers,
            checksums: { crc32: crc(body), sha256: sha256(body) },
          })
          expect(put.checksums.crc32).toBe(crc(body))
          expect(put.etag).toMatch(/^[0-9a-f]{32}$/)

          const head = await store.head(key)
          expect(head).toMatchObject({
            key,
            size,
            etag: put.etag,
            contentType: headers.contentType,
            cacheControl: headers.cacheControl,
            metadata: headers.metadata,
            checksums: { crc32: crc(body) },
          })
          expect(Math.abs(head!.lastModified.getTime() - Date.now())).toBeLessThan(15 * 60_000)

          const content = await store.get(key)
          expect(content?.head).toMatchObject({ size, etag: put.etag, checksums: { crc32: crc(body) } })
          expect(body.equals(await bytesOf(content!.body))).toBe(true)
        })
      }

      test('a SHA-256 is verified as well', async () => {
        const key = `${fresh()}sha`
        const body = randomBytes(1000)
        const put = await store.put(key, body, { headers, checksums: { sha256: sha256(body) } })
        expect(put.checksums.sha256).toBe(sha256(body))
        expect((await store.head(key))?.checksums.sha256).toBe(sha256(body))
        const other = await refusal(
          store.put(`${key}2`, body, { headers, checksums: { sha256: sha256(Buffer.from('other')) } }),
        )
        expect(other.kind).toBe('bad-digest')
      })

      test('a key without a character names no object', async () => {
        expect([await store.head(''), await store.get(''), await store.getInto('', Buffer.alloc(9))]).toEqual(
          [undefined, undefined, undefined],
        )
      })

      test('a wrong checksum is refused and nothing is stored', async () => {
        const key = `${fresh()}corrupt`
        const body = randomBytes(100_000)
        const error = await refusedWith(
          'bad-digest',
          store.put(key, body, { headers, checksums: { crc32: crc(randomBytes(100_000)) } }),
        )
        expect(error.retryable).toBe(true)
        expect(error.message).toContain(store.bucket)
        expect(error.message).toContain('corrupt')
        expect(await store.head(key)).toBeUndefined()
      })

      test('a wrong checksum leaves the object that was there', async () => {
        const key = `${fresh()}kept`
        await putText(key, 'first')
        await refusedWith(
          'bad-digest',
          store.put(key, Buffer.from('second'), {
            headers,
            checksums: { crc32: crc(Buffer.from('third')) },
          }),
        )
        expect(await textAt(key)).toBe('first')
      })

      test('ifNoneMatch: the first put wins, the next is told that the key exists', async () => {
        const key = `${fresh()}once`
        await putText(key, 'first', { ifNoneMatch: true })
        const error = await refusedWith('exists', putText(key, 'second', { ifNoneMatch: true }))
        expect(error.retryable).toBe(false)
        expect(error.status).toBe(412)
        expect(await textAt(key)).toBe('first')
      })

      test('without ifNoneMatch an object is replaced', async () => {
        const key = `${fresh()}twice`
        const first = await putText(key, 'first')
        const second = await putText(key, 'second')
        expect(second.etag).not.toBe(first.etag)
        expect(await textAt(key)).toBe('second')
      })

      test('headers that were not given are not made up; spaces in metadata survive', async () => {
        const key = `${fresh()}plain`
        const body = Buffer.from('x')
        await store.put(key, body, {
          headers: {
            contentType: 'audio/mpeg',
            contentDisposition: 'attachment; filename="a b.mp3"',
            metadata: { note: 'two words' },
          },
          checksums: { crc32: crc(body) },
        })
        const head = await store.head(key)
        expect(head?.contentType).toBe('audio/mpeg')
        expect(head?.contentDisposition).toBe('attachment; filename="a b.mp3"')
        expect(head?.cacheControl).toBeUndefined()
        expect(head?.metadata).toEqual({ note: 'two words' })
      })

      test('metadata that is not ASCII, or holds a line break, is refused before it is sent', async () => {
        const key = `${fresh()}metadata`
        for (const value of ['Beyoncé', 'two\r\nx-amz-acl: public-read']) {
          await refusedWith(
            'invalid',
            store.put(key, Buffer.from('x'), {
              headers: { contentType: 'audio/mpeg', metadata: { artist: value } },
              checksums: {},
            }),
          )
        }
        expect(await store.head(key)).toBeUndefined()
      })

      test.skipIf(!capabilities.tags)('tags are taken', async () => {
        const body = Buffer.from('x')
        const tagged = { ...headers, tags: { 'moved by': 'autodj+me @ home', année: '2026' } }
        const put = await store.put(`${fresh()}tags`, body, {
          headers: tagged,
          checksums: { crc32: crc(body) },
        })
        expect(put.checksums.crc32).toBe(crc(body))
      })

      test('what is missing is undefined, not an error', async () => {
        const key = `${fresh()}nothing`
        expect(await store.head(key)).toBeUndefined()
        expect(await store.get(key)).toBeUndefined()
        expect(await store.get(key, { range: { start: 0, end: 0 } })).toBeUndefined()
      })
    })

    describe('ranges', () => {
      const body = randomBytes(10_000)
      let key: string
      beforeAll(async () => {
        key = `${fresh()}ranged`
        await store.put(key, body, { headers, checksums: { crc32: crc(body) } })
      })

      test.for([
        { name: 'first byte', range: { start: 0, end: 0 }, want: body.subarray(0, 1) },
        { name: 'in the middle', range: { start: 1234, end: 2345 }, want: body.subarray(1234, 2346) },
        { name: 'last byte', range: { start: 9999, end: 9999 }, want: body.subarray(9999) },
        { name: 'open end', range: { start: 9000 }, want: body.subarray(9000) },
        { name: 'end beyond the object', range: { start: 9990, end: 20_000 }, want: body.subarray(9990) },
        { name: 'all of it', range: { start: 0, end: 9999 }, want: body },
      ])('$name', async ({ range, want }) => {
        const content = await store.get(key, { range })
        expect(content?.head.size).toBe(10_000)
        expect(want.equals(await bytesOf(content!.body))).toBe(true)
      })

      test('start beyond the object is refused', async () => {
        const error = await refusedWith('invalid', store.get(key, { range: { start: 10_000 } }))
        expect(error.status).toBe(416)
      })

      test('ifMatch: the judged object only', async () => {
        const { etag } = (await store.head(key))!
        const content = await store.get(key, { range: { start: 0, end: 9 }, ifMatch: etag })
        expect(await bytesOf(content!.body)).toEqual(body.subarray(0, 10))
        await refusedWith('precondition', store.get(key, { ifMatch: '0'.repeat(32) }))
      })

      test('into memory: as much as fits, from where it is told, with the head that a HEAD gives', async () => {
        const small = Buffer.alloc(4_000)
        const first = await store.getInto(key, small, { start: 0 })
        const head = await store.head(key)
        expect(first).toEqual({ head: { ...head, checksums: first!.head.checksums }, bytes: 4_000 })
        expect(small.equals(body.subarray(0, 4_000))).toBe(true)
        const { etag } = first!.head
        expect((await store.getInto(key, small, { start: 8_000, ifMatch: etag }))?.bytes).toBe(2_000)
        expect(small.subarray(0, 2_000).equals(body.subarray(8_000))).toBe(true)
        const large = Buffer.alloc(20_000)
        expect(await store.getInto(key, large)).toEqual({ head, bytes: 10_000 })
        expect(large.subarray(0, 10_000).equals(body)).toBe(true)
        await refusedWith('precondition', store.getInto(key, small, { ifMatch: '0'.repeat(32) }))
        await refusedWith('invalid', store.getInto(key, small))
        await refusedWith('invalid', store.getInto(key, small, { start: 10_000 }))
        expect(await store.getInto(`${key}-not`, small)).toBeUndefined()
      })

      test('into memory: an empty object, and a name that has to be encoded', async () => {
        const empty = `${fresh()}leer & größer + #1.mp3`
        await store.put(empty, Buffer.alloc(0), { headers, checksums: { crc32: crc(Buffer.alloc(0)) } })
        expect(await store.getInto(empty, Buffer.alloc(10))).toMatchObject({ bytes: 0, head: { size: 0 } })
      })

      test('a body may be thrown away unread', async () => {
        for (let i = 0; i < 5; i++) (await store.get(key))!.body.destroy()
        expect((await store.head(key))?.size).toBe(10_000)
      })
    })

    describe('keys', () => {
      const nfc = 'Café'.normalize('NFC')
      const nfd = 'Café'.normalize('NFD')
      const long = (bytes: number) => {
        const segment = capabilities.longSegments ? bytes : 200
        let key = ''
        while (key.length < bytes) key += key.length % (segment + 1) === segment ? '/' : 'k'
        return key.endsWith('/') ? `${key.slice(0, -1)}k` : key
      }
      const names = [
        'with space.mp3',
        'two  spaces.mp3',
        'a+b#c%d?e&f=g.mp3',
        '100%25.mp3',
        'quotes\'"(*)!~`.mp3',
        '[brackets]{braces}|^<>\\.mp3',
        'semi;colon,comma:at@dollar$.mp3',
        'emoji-\u{1F3A7}.flac',
        '\uFF21-fullwidth.flac',
        'Мумий Тролль.ogg',
        '東京事変.m4a',
        `${nfc}.wav`,
        `${nfd}.wav`,
        'CASE.mp3',
        'case.mp3',
        '...three.dots',
        'trailing.',
      ]

      test('any name goes in and comes back by put, head, get, list and delete', async () => {
        const prefix = fresh()
        const keys = names.map(name => prefix + name)
        await Promise.all(keys.map(key => putText(key)))
        for (const key of keys) {
          expect((await store.head(key))?.key, key).toBe(key)
          expect(await textAt(key), key).toBe(key)
        }
        expect(await keysUnder(prefix)).toEqual(keys.toSorted(compareUtf8))
        const outcomes = await store.delete(keys.map(key => ({ key })))
        expect(outcomes).toMatchObject(keys.map(key => ({ key })))
        expect(outcomes.filter(outcome => outcome.error)).toEqual([])
        expect(await keysUnder(prefix)).toEqual([])
      })

      test('NFC and NFD are different keys', async () => {
        const prefix = fresh()
        await putText(`${prefix}${nfc}`, 'composed')
        await putText(`${prefix}${nfd}`, 'decomposed')
        expect(await textAt(`${prefix}${nfc}`)).toBe('composed')
        expect(await textAt(`${prefix}${nfd}`)).toBe('decomposed')
      })

      test('1,024 bytes fit, 1,025 do not', async () => {
        const prefix = fresh()
        const longest = prefix + long(1024 - prefix.length)
        expect(Buffer.byteLength(longest)).toBe(1024)
        await putText(longest)
        expect(await textAt(longest)).toBe(longest)
        await refusedWith('invalid', putText(`${longest}k`))
      })

      test.skipIf(!capabilities.nestedKeys)(
        'a key may lie below another, and slashes may be doubled',
        async () => {
          const prefix = fresh()
          const keys = [`${prefix}a`, `${prefix}a/b`, `${prefix}a//b`, `${prefix}a/b/`]
          for (const key of keys) await putText(key)
          for (const key of keys) expect(await textAt(key)).toBe(key)
          expect(await keysUnder(prefix)).toEqual(keys.toSorted(compareUtf8))
        },
      )
    })

    describe('listing', () => {
      // Paging is shown once: a versioned bucket is not listed in another way.
      const many = capabilities.versions ? 103 : 1103
      let prefix: string
      let keys: string[]
      beforeAll(async () => {
        prefix = fresh()
        // Around the point where UTF-16 order and UTF-8 order part.
        const odd = ['\uFFFD', '\u{1F3A7}', '\uE000', 'z', 'é', 'a b', 'a+b', 'a%2Bb']
        keys = [
          ...odd.map(name => `${prefix}${name}`),
          ...Array.from({ length: many - odd.length }, (_, i) => `${prefix}dir${i % 7}/track ${i}.mp3`),
        ].toSorted(compareUtf8)
        const waiting = [...keys]
        const worker = async () => {
          for (let key = waiting.pop(); key !== undefined; key = waiting.pop()) await putText(key, 'x')
        }
        await Promise.all(Array.from({ length: 16 }, worker))
      })

      test(`${many} keys: all of them, once, in UTF-8 byte order`, async () => {
        const pages: ObjectEntry[][] = []
        for await (const page of store.list({ prefix })) pages.push(page)
        expect(pages.length).toBe(Math.ceil(many / 1000))
        expect(pages.flat().map(entry => entry.key)).toEqual(keys)
        const byBytes = keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
        expect(byBytes).toEqual(keys)
        const entry = pages[0]![0]!
        expect(entry).toMatchObject({ size: 1, etag: '9dd4e461268c8034f5c8564e155c67a6' })
        expect(Math.abs(entry.lastModified.getTime() - Date.now())).toBeLessThan(60 * 60_000)
      })

      test('startAfter is exclusive and need not exist', async () => {
        const at = many - 53
        expect(await keysUnder(prefix, keys[at])).toEqual(keys.slice(at + 1))
        expect(await keysUnder(prefix, `${keys[at]}\u0001`)).toEqual(keys.slice(at + 1))
        expect(await keysUnder(prefix, keys.at(-1))).toEqual([])
        expect(await keysUnder(prefix, '\u0001')).toEqual(keys)
        expect((await keysUnder(prefix, keys[20])).length).toBe(many - 21)
      })

      test('a prefix need not end at a slash; one that matches nothing lists nothing', async () => {
        expect(await keysUnder(`${prefix}dir3/track 1`)).toEqual(
          keys.filter(key => key.startsWith(`${prefix}dir3/track 1`)),
        )
        expect(await keysUnder(`${prefix}nothing here`)).toEqual([])
      })

      test('prefixes one level down', async () => {
        expect(await store.listPrefixes(prefix)).toEqual(
          Array.from({ length: 7 }, (_, i) => `${prefix}dir${i}/`),
        )
        expect(await store.listPrefixes(`${prefix}dir1/`)).toEqual([])
      })

      test('a caller may stop early', async () => {
        for await (const page of store.list({ prefix })) {
          expect(page.length).toBeGreaterThan(0)
          break
        }
        expect(await store.head(keys[0]!)).toBeDefined()
      })

      test(`${many + 1} deletes, with one that is not there`, async () => {
        const requests = [...keys, `${prefix}never was`].map(key => ({ key }))
        const outcomes = await store.delete(requests)
        expect(outcomes.map(outcome => outcome.key)).toEqual(requests.map(request => request.key))
        expect(outcomes.filter(outcome => outcome.error)).toEqual([])
        expect(await keysUnder(prefix)).toEqual([])
      })
    })

    describe('delete', () => {
      test('nothing to delete', async () => {
        expect(await store.delete([])).toEqual([])
      })

      test('ifMatch deletes the judged object', async () => {
        const key = `${fresh()}judged`
        const { etag } = await putText(key)
        const [outcome] = await store.delete([{ key, ifMatch: etag }])
        expect(outcome?.error).toBeUndefined()
        expect(await store.head(key)).toBeUndefined()
      })

      test.skipIf(!capabilities.conditionalDelete)('a stale ifMatch deletes nothing', async () => {
        const prefix = fresh()
        const { etag: stale } = await putText(`${prefix}replaced`, 'first')
        await putText(`${prefix}replaced`, 'second')
        await putText(`${prefix}plain`)
        const [kept, gone] = await store.delete([
          { key: `${prefix}replaced`, ifMatch: stale },
          { key: `${prefix}plain` },
        ])
        expect(kept?.error?.kind).toBe('precondition')
        expect(gone?.error).toBeUndefined()
        expect(await store.head(`${prefix}plain`)).toBeUndefined()
        expect(await textAt(`${prefix}replaced`)).toBe('second')
      })
    })

    describe('copy', () => {
      test('keeps bytes, headers and checksum', async () => {
        const prefix = fresh()
        const from = `${prefix}from + é.flac`
        const to = `${prefix}to/dir #1.flac`
        const body = randomBytes(70_000)
        await store.put(from, body, { headers, checksums: { crc32: crc(body) } })
        const copied = await store.copy(from, to)
        const head = await store.head(to)
        expect(head).toMatchObject({
          size: body.length,
          etag: copied.etag,
          contentType: headers.contentType,
          cacheControl: headers.cacheControl,
          metadata: headers.metadata,
          checksums: { crc32: crc(body) },
        })
        const content = await store.get(to)
        expect(body.equals(await bytesOf(content!.body))).toBe(true)
        expect(await store.head(from)).toBeDefined()
      })

      test('may replace the headers, onto itself too', async () => {
        const key = `${fresh()}self`
        await putText(key, 'same bytes')
        await store.copy(key, key, { headers: { contentType: 'audio/ogg', metadata: { v: '2' } } })
        expect(await store.head(key)).toMatchObject({ contentType: 'audio/ogg', metadata: { v: '2' } })
        expect(await textAt(key)).toBe('same bytes')
      })

      test.skipIf(!capabilities.copyParts)(
        'a large object, in parts where the store is told so',
        async () => {
          const prefix = fresh()
          const body = randomBytes(11 * MiB)
          await store.put(`${prefix}from #1`, body, { headers, checksums: { crc32: crc(body) } })
          await store.copy(`${prefix}from #1`, `${prefix}to`, { ifNoneMatch: true })
          expect(await store.head(`${prefix}to`)).toMatchObject({
            size: body.length,
            contentType: headers.contentType,
            cacheControl: headers.cacheControl,
            metadata: headers.metadata,
            checksums: { crc32: crc(body) },
          })
          const content = await store.get(`${prefix}to`)
          expect(body.equals(await bytesOf(content!.body))).toBe(true)
          await refusedWith('exists', store.copy(`${prefix}from #1`, `${prefix}to`, { ifNoneMatch: true }))
        },
      )

      test('headers of an object too large to be copied at once are not set, and it stays as it is', async () => {
        const prefix = fresh()
        const { etag } = await store.put(`${prefix}large`, Buffer.alloc(smallCopies.singleMax + 1, 7), {
          headers,
          checksums: {},
        })
        const error = await refusedWith(
          'invalid',
          store.rewriteHeaders(`${prefix}large`, { ifMatch: etag, contentType: 'audio/mpeg' }),
        )
        expect(error.message).toContain('more than 5 GiB')
        expect(await store.head(`${prefix}large`)).toMatchObject({ etag, contentType: headers.contentType })
      })

      test('a missing source, a stale source', async () => {
        const prefix = fresh()
        await refusedWith('missing', store.copy(`${prefix}nothing`, `${prefix}to`))
        await putText(`${prefix}from`)
        await refusedWith(
          'precondition',
          store.copy(`${prefix}from`, `${prefix}to`, { ifMatch: 'f'.repeat(32) }),
        )
        expect(await store.head(`${prefix}to`)).toBeUndefined()
      })

      test('ifNoneMatch spares what is there', async () => {
        const prefix = fresh()
        await putText(`${prefix}from`, 'new')
        await putText(`${prefix}to`, 'old')
        await refusedWith('exists', store.copy(`${prefix}from`, `${prefix}to`, { ifNoneMatch: true }))
        expect(await textAt(`${prefix}to`)).toBe('old')
      })
    })

    describe('multipart', () => {
      const parts = [randomBytes(5 * MiB), randomBytes(5 * MiB), randomBytes(1234)]
      const body = Buffer.concat(parts)

      async function uploadsUnder(prefix: string): Promise<string[]> {
        const ids: string[] = []
        for await (const page of store.listUploads({ prefix }))
          ids.push(...page.map(upload => upload.uploadId))
        return ids
      }

      const sendPart = (key: string, id: string, number: number) =>
        store.uploadPart(key, id, number, parts[number - 1]!, { crc32: crc(parts[number - 1]!) })

      test('parts in any order, resumed from listParts, completed with the checksum of the whole', async () => {
        const prefix = fresh()
        const key = `${prefix}large + é.flac`
        const id = await store.createUpload(key, { headers })
        expect(await uploadsUnder(prefix)).toEqual([id])
        expect(await store.listParts(key, id)).toEqual([])

        const third = await sendPart(key, id, 3)
        const first = await sendPart(key, id, 1)
        expect(first).toMatchObject({ partNumber: 1, size: 5 * MiB, crc32: crc(parts[0]!) })
        expect(await store.listParts(key, id)).toEqual([first, third])

        await sendPart(key, id, 2)
        const held = await store.listParts(key, id)
        expect(held?.map(part => part.partNumber)).toEqual([1, 2, 3])
        expect(await store.head(key)).toBeUndefined()

        const done = await store.completeUpload(key, id, held!, {
          checksums: { crc32: crc(body) },
          size: body.length,
          ifNoneMatch: true,
        })
        expect(done.checksums.crc32 ?? crc(body)).toBe(crc(body))
        expect(done.etag).toMatch(/-3$/)
        expect(await store.head(key)).toMatchObject({
          size: body.length,
          etag: done.etag,
          contentType: headers.contentType,
          metadata: headers.metadata,
          checksums: { crc32: crc(body) },
        })
        const content = await store.get(key)
        expect(body.equals(await bytesOf(content!.body))).toBe(true)
        expect(await uploadsUnder(prefix)).toEqual([])
      })

      test('a part that arrived damaged is refused', async () => {
        const key = `${fresh()}damaged`
        const id = await store.createUpload(key, { headers })
        await refusedWith('bad-digest', store.uploadPart(key, id, 1, parts[2]!, { crc32: crc(parts[1]!) }))
        expect(await store.listParts(key, id)).toEqual([])
        await store.abortUpload(key, id)
      })

      test('a wrong checksum of the whole is refused', async () => {
        const key = `${fresh()}mixed up`
        const id = await store.createUpload(key, { headers })
        const held = [await sendPart(key, id, 1), await sendPart(key, id, 2)]
        const error = await refusal(
          store.completeUpload(key, id, held, {
            checksums: { crc32: crc(parts[2]!) },
            size: 10 * MiB,
          }),
        )
        expect(['bad-digest', 'invalid']).toContain(error.kind)
        expect(await store.head(key)).toBeUndefined()
        await store.abortUpload(key, id)
      })

      test('ifNoneMatch holds for completing', async () => {
        const key = `${fresh()}taken`
        await putText(key, 'first')
        const id = await store.createUpload(key, { headers })
        const held = [await sendPart(key, id, 3)].map(part => ({ ...part }))
        await refusedWith(
          'exists',
          store.completeUpload(key, id, held, {
            checksums: { crc32: crc(parts[2]!) },
            size: parts[2]!.length,
            ifNoneMatch: true,
          }),
        )
        expect(await textAt(key)).toBe('first')
        await store.abortUpload(key, id)
      })

      test('after an abort, and for an upload that never was', async () => {
        const prefix = fresh()
        const key = `${prefix}aborted`
        const id = await store.createUpload(key, { headers })
        const part = await sendPart(key, id, 3)
        await store.abortUpload(key, id)
        await store.abortUpload(key, id)
        expect(await store.listParts(key, id)).toBeUndefined()
        expect(await uploadsUnder(prefix)).toEqual([])
        await refusedWith('no-upload', sendPart(key, id, 3))
        await refusedWith(
          'no-upload',
          store.completeUpload(key, id, [part], { checksums: {}, size: part.size }),
        )
        expect(await store.head(key)).toBeUndefined()
      })

      test('uploads are listed with key and id, several on one key', async () => {
        const prefix = fresh()
        const keys = [`${prefix}a b`, `${prefix}a b`, `${prefix}c+d`, `${prefix}é/\u{1F3A7}`]
        const made: { key: string; uploadId: string }[] = []
        for (const key of keys) made.push({ key, uploadId: await store.createUpload(key, { headers }) })
        const found: { key: string; uploadId: string }[] = []
        for await (const page of store.listUploads({ prefix })) {
          for (const { key, uploadId, initiated } of page) {
            expect(Math.abs(initiated.getTime() - Date.now())).toBeLessThan(15 * 60_000)
            found.push({ key, uploadId })
          }
        }
        const order = (a: { key: string; uploadId: string }, b: { key: string; uploadId: string }) =>
          compareUtf8(a.key, b.key) || compareUtf8(a.uploadId, b.uploadId)
        expect(found.toSorted(order)).toEqual(made.toSorted(order))
        for (const { key, uploadId } of made) await store.abortUpload(key, uploadId)
        expect(await uploadsUnder(prefix)).toEqual([])
      })
    })

    describe('putStream', () => {
      async function* pieces(body: Buffer, size: number) {
        for (let at = 0; at < body.length; at += size) yield body.subarray(at, at + size)
      }

      for (const size of [0, 10, 8 * MiB, 8 * MiB + 1, 17 * MiB + 3]) {
        test(`${size} bytes of unknown length`, async () => {
          const prefix = fresh()
          const key = `${prefix}streamed`
          const body = randomBytes(size)
          const put = await store.putStream(key, pieces(body, 100_003), { headers, ifNoneMatch: true })
          expect(put.size).toBe(size)
          const head = await store.head(key)
          expect(head).toMatchObject({ size, etag: put.etag, checksums: { crc32: crc(body) } })
          expect(head).toMatchObject({ contentType: headers.contentType, metadata: headers.metadata })
        })
      }

      test('a source that fails leaves no object and no upload', async () => {
        const prefix = fresh()
        let closed = false
        async function* failing() {
          try {
            for (let i = 0; i < 20; i++) yield randomBytes(MiB)
            throw new Error('disk on fire')
          } finally {
            closed = true
          }
        }
        await expect(store.putStream(`${prefix}failed`, failing(), { headers })).rejects.toThrow(
          'disk on fire',
        )
        expect(closed).toBe(true)
        expect(await store.head(`${prefix}failed`)).toBeUndefined()
        for await (const uploads of store.listUploads({ prefix })) expect(uploads).toEqual([])
      })

      test('stopped in the middle: no object, no upload, the source let go', async () => {
        const prefix = fresh()
        const stop = new AbortController()
        let closed = false
        async function* endless() {
          try {
            for (let i = 0; ; i++) {
              if (i === 20) stop.abort()
              yield randomBytes(MiB)
            }
          } finally {
            closed = true
          }
        }
        await refusedWith(
          'aborted',
          store.putStream(`${prefix}stopped`, endless(), { headers, signal: stop.signal }),
        )
        expect(closed).toBe(true)
        expect(await store.head(`${prefix}stopped`)).toBeUndefined()
        for await (const uploads of store.listUploads({ prefix })) expect(uploads).toEqual([])
      })
    })

    describe('versions', () => {
      test('versioning is reported', async () => {
        expect(await store.versioning()).toBe(capabilities.versions ? 'Enabled' : 'Off')
      })

      test.skipIf(!capabilities.versions)('every put is a version, a delete is a marker', async () => {
        const prefix = fresh()
        const key = `${prefix}é +versions`
        const first = await putText(key, 'first')
        const second = await putText(key, 'second')
        expect(first.versionId).toBeTruthy()
        expect(second.versionId).not.toBe(first.versionId)
        expect((await store.head(key))?.versionId).toBe(second.versionId)
        const old = await store.get(key, { versionId: first.versionId })
        expect((await bytesOf(old!.body)).toString()).toBe('first')

        const [deleted] = await store.delete([{ key }])
        expect(deleted?.error).toBeUndefined()
        expect(deleted?.deleteMarkerVersionId).toBeTruthy()
        expect(await store.head(key)).toBeUndefined()

        const listed = []
        for await (const page of store.listVersions({ prefix })) listed.push(...page)
        expect(
          listed.map(({ key, versionId, isLatest, isDeleteMarker }) => ({
            key,
            versionId,
            isLatest,
            isDeleteMarker,
          })),
        ).toEqual([
          { key, versionId: deleted?.deleteMarkerVersionId, isLatest: true, isDeleteMarker: true },
          { key, versionId: second.versionId, isLatest: false, isDeleteMarker: false },
          { key, versionId: first.versionId, isLatest: false, isDeleteMarker: false },
        ])

        // Taking the marker away brings the object back.
        const [back] = await store.delete([{ key, versionId: deleted?.deleteMarkerVersionId }])
        expect(back?.error).toBeUndefined()
        expect(await textAt(key)).toBe('second')
      })
    })

    describe('stopping', () => {
      test('a signal that is set already stops every method before anything happens', async () => {
        const prefix = fresh()
        const key = `${prefix}never`
        const signal = AbortSignal.abort()
        const body = Buffer.from('x')
        const drain = async (pages: AsyncIterable<unknown>) => {
          for await (const page of pages) expect(page).toBeUndefined()
        }
        await refusedWith(
          'aborted',
          store.put(key, body, { headers, checksums: { crc32: crc(body) }, signal }),
        )
        await refusedWith('aborted', store.head(key, { signal }))
        await refusedWith('aborted', store.get(key, { signal }))
        await refusedWith('aborted', store.copy(key, `${key}2`, { signal }))
        await refusedWith('aborted', store.createUpload(key, { headers, signal }))
        await refusedWith('aborted', store.checkBucket(signal))
        await refusedWith('aborted', store.versioning(signal))
        await refusedWith('aborted', drain(store.list({ prefix, signal })))
        await refusedWith('aborted', drain(store.listUploads({ prefix, signal })))
        const [outcome] = await store.delete([{ key }], signal)
        expect(outcome?.error?.kind).toBe('aborted')
        expect(await store.head(key)).toBeUndefined()
      })

      test('a signal set while a body is under way stops it, and the store goes on', async () => {
        const key = `${fresh()}stopped`
        const stop = new AbortController()
        const body = Buffer.alloc(64 * MiB)
        const putting = store.put(key, body, {
          headers,
          checksums: { crc32: crc(body) },
          signal: stop.signal,
        })
        setImmediate(() => stop.abort())
        await refusedWith('aborted', putting)
        await putText(key, 'after')
        expect(await textAt(key)).toBe('after')
      })
    })
  })
}

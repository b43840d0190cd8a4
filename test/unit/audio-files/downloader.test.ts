/** Downloads into files, from the embedded S3 server. */
import { createHash, randomBytes } from 'node:crypto'
import { closeSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { crc32 } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Downloader, type Draft } from '../../../src/audio-files/downloader.ts'
import { Readers } from '../../../src/audio-files/readers.ts'
import type { ObjectStore } from '../../../src/storage/store.ts'
import { embeddedBucket } from '../../support/embedded-s3.ts'
import { crc32Text } from '../../support/sums.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const KiB = 1024
/** Larger than the smallest file that is written past the system's cache. */
const rangeSize = 128 * KiB
const folder = temporaryFolder('download')
const threads = new Readers(2)
let bucket: Awaited<ReturnType<typeof embeddedBucket>>
beforeAll(async () => {
  bucket = await embeddedBucket()
})
afterAll(async () => {
  await threads.close()
  await bucket.close()
})

async function put(key: string, size: number): Promise<Buffer> {
  const body = randomBytes(size)
  const checksums = { crc32: crc32Text(body) }
  await bucket.store.put(key, body, { headers: { contentType: 'audio/mpeg' }, checksums })
  return body
}

let files = 0
/** Fills a file with the object by way of `store`. @returns what `fill` gave, and the file's content */
async function download(
  key: string,
  {
    store = bucket.store,
    ...options
  }: { store?: ObjectStore; size?: number; sha256?: string; attempts?: number } = {},
) {
  const { attempts = 1 } = options
  const signal = new AbortController().signal
  async function again<T>(work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work()
      } catch (error) {
        if (attempt >= attempts) throw error
      }
    }
  }
  const downloader = new Downloader({
    store,
    threads,
    memory: 4 * rangeSize,
    rangeSize,
    signal,
    requests: { ask: again, carry: (_bytes, work) => again(work) },
  })
  const file = path.join(folder, `${files++}`)
  const draft: Draft = { path: file }
  try {
    const { size, sha256 } = options
    const got = await downloader.fill(key, draft, { size, sha256 })
    return { got, content: got && (await readFile(file)) }
  } finally {
    if (draft.descriptor !== undefined) closeSync(draft.descriptor)
  }
}

describe('what is in the file is the object', () => {
  test.for([
    ['nothing', 0],
    ['one byte', 1],
    ['a range less one', rangeSize - 1],
    ['a range', rangeSize],
    ['a range and one', rangeSize + 1],
    ['many ranges', 9 * rangeSize + 123],
  ] as const)('%s', async ([name, size]) => {
    const body = await put(name, size)
    for (const said of [undefined, size, 5, size + 10 * KiB]) {
      const { got, content } = await download(name, { size: said })
      expect(content?.equals(body)).toBe(true)
      expect(got?.head.size).toBe(size)
      expect(got?.sha256).toBe(createHash('sha256').update(body).digest('hex'))
      expect(got?.crc32).toBe(crc32(body))
    }
  })

  test('written past the cache, up to the last byte', async () => {
    const page = 4096
    for (const size of [
      1,
      page - 1,
      page,
      page + 1,
      rangeSize - 1,
      3 * rangeSize + 2 * page,
      3 * rangeSize + 5,
    ]) {
      const body = await put(`direct ${size}`, size)
      const { got, content } = await download(`direct ${size}`, { size })
      expect(content?.equals(body)).toBe(true)
      expect(got?.sha256).toBe(createHash('sha256').update(body).digest('hex'))
      expect(got?.crc32).toBe(crc32(body))
    }
  })

  test.for([1_000, 5 * rangeSize + 7])('no second sum where the first is right, %i bytes', async size => {
    const body = await put(`known ${size}`, size)
    const sha256 = createHash('sha256').update(body).digest('hex')
    const known = await download(`known ${size}`, { size, sha256 })
    expect(known.got).toMatchObject({ sha256, crc32: undefined })
    const unlike = await download(`known ${size}`, { size, sha256: '0'.repeat(64) })
    expect(unlike.got).toMatchObject({ sha256, crc32: crc32(body) })
  })

  test('what lies in the place of the draft goes', async () => {
    const body = await put('draft', 10)
    writeFileSync(path.join(folder, `${files}`), 'much longer than what comes in its place')
    expect((await download('draft', { size: 10 })).content?.equals(body)).toBe(true)
  })

  test('what is not there is not made up', async () => {
    expect((await download('not there')).got).toBeUndefined()
    expect((await download('not there', { size: 3 })).got).toBeUndefined()
  })
})

/** The bucket, with the bytes that come into memory in other hands first. */
function tampered(change: (into: Uint8Array, call: number, start: number | undefined) => void): ObjectStore {
  let calls = 0
  return {
    ...bucket.store,
    async getInto(key, into, options) {
      const got = await bucket.store.getInto(key, into, options)
      change(into, ++calls, options?.start)
      return got
    },
  }
}

describe('what came wrong is never taken for the object', () => {
  test.for([
    ['in one request', 1_000],
    ['in ranges', 3 * rangeSize],
  ] as const)('a byte that flipped on the way, %s', async ([name, size]) => {
    await put(name, size)
    const store = tampered(into => {
      into[7]! ^= 1
    })
    await expect(download(name, { store, size })).rejects.toMatchObject({ kind: 'bad-digest' })
  })

  test('once only: the next attempt is right', async () => {
    const body = await put('flipped once', 1_000)
    const store = tampered((into, call) => {
      if (call === 1) into[7]! ^= 1
    })
    const { content } = await download('flipped once', { store, size: 1_000, attempts: 2 })
    expect(content?.equals(body)).toBe(true)
  })

  test('replaced by a shorter one between two attempts: nothing of the longer one stays', async () => {
    await put('shrunk', 50 * KiB)
    let shorter: Buffer | undefined
    const store: ObjectStore = {
      ...bucket.store,
      async getInto(key, into, options) {
        const got = await bucket.store.getInto(key, into, options)
        if (shorter === undefined) {
          into[0]! ^= 1
          shorter = await put('shrunk', 10 * KiB)
        }
        return got
      },
    }
    const { content } = await download('shrunk', { store, size: 50 * KiB, attempts: 2 })
    expect(content?.equals(shorter!)).toBe(true)
  })

  test('a range that fails again and again while all memory is lent: the others wait for it, and it for nobody', async () => {
    const body = await put('late', 12 * rangeSize)
    let failures = 5
    const store: ObjectStore = {
      ...bucket.store,
      async getInto(key, into, options) {
        if (options?.start === 0 && failures-- > 0) throw new Error('not yet')
        return bucket.store.getInto(key, into, options)
      },
    }
    const { content } = await download('late', { store, attempts: 6 })
    expect(content?.equals(body)).toBe(true)
  })

  test('replaced while its ranges come', async () => {
    await put('replaced', 5 * rangeSize)
    const store: ObjectStore = {
      ...bucket.store,
      async getInto(key, into, options) {
        if (options?.start === 2 * rangeSize) await put('replaced', 5 * rangeSize)
        return bucket.store.getInto(key, into, options)
      },
    }
    await expect(download('replaced', { store })).rejects.toMatchObject({ kind: 'precondition' })
  })

  test('one range that fails ends the others, and nothing still writes afterwards', async () => {
    await put('broken', 20 * rangeSize)
    let asked = 0
    const store: ObjectStore = {
      ...bucket.store,
      async getInto(key, into, options) {
        asked++
        if (options?.start === 0) throw new Error('broken')
        return bucket.store.getInto(key, into, options)
      },
    }
    await expect(download('broken', { store })).rejects.toThrow('broken')
    const before = asked
    await bucket.store.head('broken')
    expect(asked).toBe(before)
    expect(asked).toBeLessThan(20)
  })
})

/** Whether an object is the file: by everything that a store may say of it, and what becomes of one that is not. */
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { encodeCrc32 } from '../../../src/core/crc32.ts'
import { Requests } from '../../../src/storage/requests.ts'
import { type ObjectHead, StoreError } from '../../../src/storage/store.ts'
import { DamagedOnArrival, KeyConflict, UploadVerifier, whenTaken } from '../../../src/upload/verifier.ts'
import { fakeAudio, type TestBed } from '../../support/bed.ts'
import { embeddedBed } from '../../support/beds.ts'
import { pgliteTestDatabase } from '../../support/database.ts'
import { hooked, type StoreHooks } from '../../support/hooked-store.ts'

const key = 'audio/a.flac'
const bytes = fakeAudio(3_000, 1)
const other = fakeAudio(3_000, 2)
const sumsOf = (of: Uint8Array) => ({
  sha256: createHash('sha256').update(of).digest('hex'),
  crc32: crc32(of),
})
const content = { ...sumsOf(bytes), size: bytes.length }
const { sha256 } = content
const wrong = sumsOf(other)
const base64 = (hex: string) => Buffer.from(hex, 'hex').toString('base64')
const crcText = encodeCrc32(content.crc32)

let bed: TestBed
beforeAll(async () => {
  ;({ bed } = await embeddedBed(await pgliteTestDatabase()))
})
afterAll(() => bed.close())
beforeEach(() => bed.reset())

type Told = Partial<Pick<ObjectHead, 'checksums' | 'metadata' | 'archive' | 'size' | 'contentType'>>
/** A verifier of what the store tells of the one object, and nothing else of it. */
function verifier(told: Told, hooks: StoreHooks = {}) {
  const signal = new AbortController().signal
  const plain = { metadata: {}, checksums: {} }
  const store = hooked(bed.store, {
    head: { after: head => head && { ...head, ...plain, ...told } },
    ...hooks,
  })
  const requests = new Requests({
    store,
    report: { warn() {}, note() {}, detail() {} },
    maxConcurrency: 1,
    initialConcurrency: 1,
    maxOutage: 0,
    stopping: signal,
    signal,
  })
  return new UploadVerifier(store, requests, signal)
}
const put = (body: Uint8Array = bytes) =>
  bed.store.put(key, body, { headers: { contentType: 'audio/flac' }, checksums: {} })
const there = async () =>
  Object.fromEntries(
    await Promise.all(
      [...(await bed.objects()).keys()].map(async one => {
        const body = await bed.content(one)
        return [one, body?.equals(bytes) ? 'same' : body?.equals(other) ? 'other' : '?'] as const
      }),
    ),
  )

/** `store`, `read-back`: proved so; `conflict`: left alone; `aside`: moved away, to be sent again. */
type End = 'store' | 'read-back' | 'conflict' | 'aside' | 'archived'
const cases: [name: string, told: Told, stored: Uint8Array, end: End, why?: string][] = [
  ['nothing', {}, bytes, 'read-back'],
  ['nothing, and it is another', {}, other, 'conflict', 'content'],
  ['another size', { size: 2_999 }, bytes, 'conflict', 'size (2999 bytes, here 3000)'],
  ['whose it is', { metadata: { sha256 } }, bytes, 'read-back'],
  ['whose it is, in capitals', { metadata: { sha256: sha256.toUpperCase() } }, bytes, 'read-back'],
  ['that it is another', { metadata: { sha256: wrong.sha256 } }, bytes, 'conflict', 'SHA-256'],
  ['its SHA-256', { checksums: { sha256: base64(sha256) } }, other, 'store'],
  ['another SHA-256', { checksums: { sha256: base64(wrong.sha256) } }, bytes, 'conflict', 'checksum'],
  [
    'its SHA-256 before another CRC-32',
    { checksums: { sha256: base64(sha256), crc32: encodeCrc32(1) } },
    bytes,
    'store',
  ],
  ['its CRC-32, which two may share', { checksums: { crc32: crcText } }, bytes, 'read-back'],
  ['its CRC-32, which another has', { checksums: { crc32: crcText } }, other, 'conflict', 'content'],
  ['its CRC-32 and whose it is', { checksums: { crc32: crcText }, metadata: { sha256 } }, other, 'store'],
  ['another CRC-32', { checksums: { crc32: encodeCrc32(wrong.crc32) } }, bytes, 'conflict', 'checksum'],
  [
    'that it is this file, and another CRC-32',
    { checksums: { crc32: encodeCrc32(wrong.crc32) }, metadata: { sha256 } },
    other,
    'aside',
  ],
  [
    'that it is this file, and another SHA-256',
    { checksums: { sha256: base64(wrong.sha256) }, metadata: { sha256 } },
    other,
    'aside',
  ],
  ['that it is this file, and another size', { size: 2_999, metadata: { sha256 } }, other, 'aside'],
  ['that it is this file, which it is not', { metadata: { sha256 } }, other, 'aside'],
  [
    'that it lies in an archive',
    { archive: 'archived', checksums: { sha256: base64(sha256) } },
    bytes,
    'archived',
  ],
  [
    'that it is another, in an archive',
    { archive: 'archived', metadata: { sha256: wrong.sha256 } },
    bytes,
    'conflict',
    'SHA-256',
  ],
]

describe('a key that is taken', () => {
  test.each(cases)('the store tells %s', async (_, told, stored, end, why) => {
    const { etag } = await put(stored)
    const proving = verifier(told)
    const ended = proving.adopt(key, content, 'audio/x', bytes.length)
    const was = { [key]: stored === bytes ? 'same' : 'other' }
    if (end === 'store' || end === 'read-back') {
      expect(await ended).toEqual({
        key,
        size: bytes.length,
        etag,
        contentType: 'audio/flac',
        sha256,
        crc32: crcText,
        proof: end,
        versionId: undefined,
      })
      const isRead = end === 'read-back'
      expect(proving.statistics).toEqual({
        confirmed: isRead ? 0 : 1,
        readBack: isRead ? 1 : 0,
        bytesReadBack: isRead ? bytes.length : 0,
      })
      expect(await there()).toEqual(was)
    } else if (end === 'conflict') {
      await expect(ended).rejects.toThrow(KeyConflict)
      await expect(ended).rejects.toThrow(`${key} already exists with a different ${why}`)
      expect(await there()).toEqual(was)
    } else if (end === 'archived') {
      await expect(ended).rejects.toMatchObject({ kind: 'archived', cure: expect.any(String) })
      expect(await there()).toEqual(was)
    } else {
      await expect(ended).rejects.toThrow(DamagedOnArrival)
      expect(await there()).toEqual({ [`quarantine/damaged/${key}`]: 'other' })
    }
  })

  test('the object is gone again, or goes while it is read back', async () => {
    await expect(verifier({}).adopt(key, content, 'a/b', bytes.length)).rejects.toMatchObject({
      kind: 'unavailable',
    })
    await put()
    await expect(
      verifier({}, { get: { after: () => null } }).adopt(key, content, 'a/b', bytes.length),
    ).rejects.toThrow('different content')
  })

  test('an object without a type gets the file’s', async () => {
    await put()
    const proved = await verifier({ contentType: undefined as never }).adopt(
      key,
      content,
      'audio/x',
      bytes.length,
    )
    expect(proved.contentType).toBe('audio/x')
  })

  const damaged: Told = { metadata: { sha256 } }
  test('one that was damaged is set aside once, and where it cannot be it stays', async () => {
    await put(other)
    // What lies aside already is not written over.
    const aside = `quarantine/damaged/${key}`
    await bed.store.put(aside, bytes, { headers: { contentType: 'a/b' }, checksums: {} })
    await expect(verifier(damaged).adopt(key, content, 'a/b', bytes.length)).rejects.toThrow(DamagedOnArrival)
    expect(await there()).toEqual({ [aside]: 'same' })
    await bed.store.delete([{ key: aside }])
    await put(other)
    const failing = (kind: 'denied' | 'aborted', method: 'copy' | 'delete'): StoreHooks => ({
      [method]: {
        before: () => {
          throw new StoreError(kind, 'refused by the store')
        },
      },
    })
    for (const method of ['copy', 'delete'] as const) {
      const refused = verifier(damaged, failing('denied', method)).adopt(key, content, 'a/b', bytes.length)
      await expect(refused).rejects.toMatchObject({
        kind: 'bad-digest',
        cure: expect.stringContaining('by hand'),
      })
      await expect(refused).rejects.toThrow('could not be moved aside: refused by the store')
      expect((await there())[key]).toBe('other')
      await expect(
        verifier(damaged, failing('aborted', method)).adopt(key, content, 'a/b', bytes.length),
      ).rejects.toMatchObject({ kind: 'aborted' })
    }
    // Replaced since it was looked at: the new one stays.
    const late = verifier(damaged, { delete: { before: () => put() } })
    await expect(late.adopt(key, content, 'a/b', bytes.length)).rejects.toMatchObject({ kind: 'bad-digest' })
    expect((await there())[key]).toBe('same')
  })
})

describe('what has just been stored', () => {
  const result = async (checksums = {}) => ({ ...(await put()), checksums })
  test('is proved by the answer, or by a look where that says nothing', async () => {
    const told = await result({ crc32: crcText })
    // Nothing is asked.
    const silent = verifier({}, { head: { before: () => expect.unreachable() } })
    expect(await silent.confirm(key, content, 'audio/x', bytes.length, told)).toMatchObject({
      proof: 'store',
      contentType: 'audio/x',
      etag: told.etag,
    })
    const untold = await result()
    expect(await verifier({}).confirm(key, content, 'audio/x', bytes.length, untold)).toMatchObject({
      proof: 'read-back',
    })
    const byHead = verifier({ checksums: { sha256: base64(sha256) } })
    expect(await byHead.confirm(key, content, 'audio/x', bytes.length, untold)).toMatchObject({
      proof: 'store',
    })
  })

  test('is removed again if it is not what was sent', async () => {
    for (const [told, checksums] of [
      [{}, { crc32: encodeCrc32(1) }],
      [{ checksums: { crc32: encodeCrc32(1) } }, {}],
      [{ size: 1 }, {}],
    ] as const) {
      const stored = await result(checksums)
      await expect(verifier(told).confirm(key, content, 'a/b', bytes.length, stored)).rejects.toThrow(
        DamagedOnArrival,
      )
      expect(await there()).toEqual({})
    }
  })

  test('and is another by now, or cannot be removed, is left and told', async () => {
    const stored = await result({ crc32: encodeCrc32(1) })
    const late = verifier({}, { delete: { before: () => put(other) } })
    const ended = late.confirm(key, content, 'a/b', bytes.length, stored)
    await expect(ended).rejects.not.toThrow(DamagedOnArrival)
    await expect(ended).rejects.toMatchObject({
      kind: 'bad-digest',
      cure: expect.stringContaining('by hand'),
    })
    expect(await there()).toEqual({ [key]: 'other' })
  })

  test('and cannot be found, or asked for, says so', async () => {
    const stored = { etag: 'e', checksums: {} }
    await expect(verifier({}).confirm(key, content, 'a/b', bytes.length, stored)).rejects.toMatchObject({
      kind: 'unavailable',
    })
    await put()
    const denied = verifier(
      {},
      {
        get: {
          before: () => {
            throw new StoreError('denied', 'no')
          },
        },
      },
    )
    await expect(denied.confirm(key, content, 'a/b', bytes.length, stored)).rejects.toMatchObject({
      kind: 'denied',
    })
    expect(await there()).toEqual({ [key]: 'same' })
  })
})

test('a write that meets its own effect, or another writer’s, has met it; any other error is one', () => {
  for (const kind of ['exists', 'no-upload'] as const)
    expect(whenTaken(new StoreError(kind, ''))).toBe('exists')
  const denied = new StoreError('denied', '')
  expect(() => whenTaken(denied)).toThrow(denied)
  const plain = Object.assign(new Error('x'), { kind: 'exists' })
  expect(() => whenTaken(plain)).toThrow(plain)
})

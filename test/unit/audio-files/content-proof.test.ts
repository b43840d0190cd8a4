/** Whether an object may stand for a file, by each of what a store may say of it; read from the embedded S3 server. */
import { createHash } from 'node:crypto'
import { truncateSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { contentOf, hashOfFile, holdsContent, readSha256 } from '../../../src/audio-files/content-proof.ts'
import { openRoot, openSource } from '../../../src/audio-files/source.ts'
import { plainFolder } from '../../../src/core/audio-path.ts'
import type { ObjectHead, ObjectStore } from '../../../src/storage/store.ts'
import { embeddedBucket } from '../../support/embedded-s3.ts'
import { crc32Text, sha256 } from '../../support/sums.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const bytes = Buffer.from('what a file holds')
const others = Buffer.from('what others hold.')
const sums = (of: Buffer) => ({
  hex: sha256(of),
  base64: createHash('sha256').update(of).digest('base64'),
  crc: crc32Text(of),
})
const [own, other] = [sums(bytes), sums(others)]
const file = { size: bytes.length, sha256: own.hex, crc32: own.crc }

let bucket: Awaited<ReturnType<typeof embeddedBucket>>
beforeAll(async () => {
  bucket = await embeddedBucket()
})
afterAll(() => bucket.close())

async function put(key: string, body: Buffer): Promise<ObjectHead> {
  await bucket.store.put(key, body, { headers: { contentType: 'audio/mpeg' }, checksums: {} })
  return (await bucket.store.head(key))!
}

/** The bucket, and how often an object was read from it. */
function counting(): { store: ObjectStore; reads: () => number } {
  let reads = 0
  const get: ObjectStore['get'] = (...request) => {
    reads++
    return bucket.store.get(...request)
  }
  return { store: { ...bucket.store, get }, reads: () => reads }
}

type Said = Partial<Pick<ObjectHead, 'metadata' | 'checksums' | 'archive' | 'storageClass' | 'size'>>

describe('an object and a file', () => {
  // What the head says; what the object holds; the verdict; whether that takes reading it.
  test.each<[string, Said, Buffer, string, boolean]>([
    ['nothing is said: the same', {}, bytes, 'same', true],
    ['nothing is said: others', {}, others, 'different', true],
    ['another size', { size: 3, checksums: { sha256: own.base64 } }, bytes, 'different', false],
    ['the SHA-256', { checksums: { sha256: own.base64 } }, bytes, 'same', false],
    ["another's SHA-256", { checksums: { sha256: other.base64 } }, bytes, 'different', false],
    ['SHA-256 before CRC-32', { checksums: { sha256: own.base64, crc32: other.crc } }, bytes, 'same', false],
    ["another's CRC-32", { checksums: { crc32: other.crc } }, bytes, 'different', false],
    ['the CRC-32 alone: the same', { checksums: { crc32: own.crc } }, bytes, 'same', true],
    ['the CRC-32 alone: others', { checksums: { crc32: own.crc } }, others, 'different', true],
    [
      'the CRC-32 and what the uploader declared',
      { checksums: { crc32: own.crc }, metadata: { sha256: own.hex } },
      bytes,
      'same',
      false,
    ],
    ['declared in capitals', { metadata: { sha256: own.hex.toUpperCase() } }, bytes, 'same', true],
    ['declared alone: the same', { metadata: { sha256: own.hex } }, bytes, 'same', true],
    ['declared alone: others', { metadata: { sha256: own.hex } }, others, 'different', true],
    [
      "another's is declared",
      { checksums: { sha256: own.base64 }, metadata: { sha256: other.hex } },
      bytes,
      'different',
      false,
    ],
    [
      'archived',
      { archive: 'archived', checksums: { sha256: own.base64 }, metadata: { sha256: own.hex } },
      bytes,
      'archived',
      false,
    ],
    [
      'of a class that AWS does not have',
      { storageClass: 'COLD', checksums: { sha256: own.base64 } },
      bytes,
      'same',
      true,
    ],
    ['being restored', { archive: 'restoring', checksums: { crc32: own.crc } }, bytes, 'archived', false],
    ['archived, but of another size', { archive: 'archived', size: 3 }, bytes, 'different', false],
    [
      "archived, but another's is declared",
      { archive: 'archived', metadata: { sha256: other.hex } },
      bytes,
      'different',
      false,
    ],
  ])('%s', async (name, said, holds, verdict, isRead) => {
    const head = { ...(await put(name, holds)), checksums: {}, metadata: {}, ...said }
    const { store, reads } = counting()
    expect(await holdsContent(store, head, file)).toBe(verdict)
    expect(reads()).toBe(isRead ? 1 : 0)
  })

  test('a file without a CRC-32 is read for', async () => {
    for (const [holds, verdict] of [
      [others, 'different'],
      [bytes, 'same'],
    ] as const) {
      const head = {
        ...(await put('k', holds)),
        checksums: { crc32: own.crc },
        metadata: { sha256: own.hex },
      }
      expect(await holdsContent(bucket.store, head, { size: file.size, sha256: own.hex })).toBe(verdict)
    }
  })

  test('one that has gone, or was replaced since the look, is not the same', async () => {
    const head = await put('replaced', bytes)
    const plain = { ...head, checksums: {} }
    await bucket.store.delete([{ key: 'replaced' }])
    expect(await readSha256(bucket.store, plain, undefined)).toBeUndefined()
    expect(await holdsContent(bucket.store, plain, file)).toBe('different')
    await put('replaced', others)
    await expect(holdsContent(bucket.store, plain, file)).rejects.toMatchObject({ kind: 'precondition' })
  })
})

describe('what a file holds', () => {
  const root = temporaryFolder('proof')
  const opened = async (name: string, content: Buffer) => {
    writeFileSync(path.join(root, name), content)
    return openSource(name, plainFolder(root), await openRoot(root))
  }

  test.each([1, 2 ** 20 - 1, 2 ** 20, 2 ** 20 + 1, 3 * 2 ** 20 + 7])('%i bytes', async size => {
    const content = Buffer.from(
      Array.from({ length: size }, (_, index) => (index * 7 + (index >> 12)) & 0xff),
    )
    const source = await opened(`${size}`, content)
    const { hex, crc } = sums(content)
    try {
      expect(await contentOf(source)).toEqual({ size, sha256: hex, crc32: crc })
    } finally {
      await source.close()
    }
  })

  test.each<[string, (name: string) => void]>([
    ['grows', name => writeFileSync(name, 'more', { flag: 'a' })],
    ['is written over', name => writeFileSync(name, 'x', { flag: 'r+' })],
    ['is cut', name => truncateSync(name, 5)],
    ['is emptied', name => truncateSync(name, 0)],
  ])('a file that %s is none that can be told', async (how, change) => {
    const source = await opened(how, bytes)
    change(path.join(root, how))
    await expect(contentOf(source)).rejects.toMatchObject({ problem: 'changed' })
    await source.close()
  })

  test('a run that is over reads no further', async () => {
    const source = await opened('stopped', bytes)
    const signal = AbortSignal.abort(new Error('stopped'))
    await expect(contentOf(source, signal)).rejects.toThrow('stopped')
    await source.close()
    const file = path.join(root, 'stopped')
    expect(await hashOfFile('sha256', file)).toBe(own.hex)
    await expect(hashOfFile('sha256', file, signal)).rejects.toMatchObject({ name: 'AbortError' })
  })
})

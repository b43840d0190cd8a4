import { hash } from 'node:crypto'
import { existsSync, openSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import path from 'node:path'
import { crc32 } from 'node:zlib'
import { afterAll, describe, expect, test } from 'vitest'
import { Readers } from '../../../src/audio-files/readers.ts'
import { LocalFileError } from '../../../src/audio-files/source.ts'
import { plainFolder } from '../../../src/core/audio-path.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const KiB = 1024

describe('hashing off the main thread', () => {
  const readers = new Readers(2)
  const dir = temporaryFolder('read')
  const shared = (size: number) => Buffer.from(new SharedArrayBuffer(size + 8)).subarray(8)
  const sums = (content: Buffer) => ({ sha256: hash('sha256', content), crc32: crc32(content) })
  afterAll(() => readers.close())

  test.each([1, 256 * KiB, 256 * KiB + 1, 3_000_001])('loads a file of %i bytes', async size => {
    const content = Buffer.alloc(size, 'abcdefg')
    writeFileSync(path.join(dir, 'song.mp3'), content)
    const memory = shared(size + 5)
    const request = {
      filePath: 'song.mp3',
      audioFolder: plainFolder(dir),
      root: dir,
      memory,
      remembered: undefined,
    }
    const loaded = await readers.load(request)
    expect(loaded).toEqual({
      source: expect.objectContaining({ absolute: path.join(dir, 'song.mp3'), relative: 'song.mp3', size }),
      content: sums(content),
    })
    expect(memory.subarray(0, size).equals(content)).toBe(true)

    // A larger file than there is room for is not read; a hash that is remembered is confirmed by its CRC, or is wrong.
    expect(await readers.load({ ...request, memory: shared(size - 1) })).toEqual({
      source: loaded.source,
      content: undefined,
    })
    const known = { ...loaded.source, sha256: 'known', crc32: crc32(content) }
    expect((await readers.load({ ...request, remembered: known })).content?.sha256).toBe('known')
    for (const wrong of [
      { ...known, crc32: 1 },
      { ...known, inode: known.inode + 1n },
    ]) {
      expect((await readers.load({ ...request, remembered: wrong })).content).toEqual(sums(content))
    }
  })

  test('what is wrong with a file arrives as it left', async () => {
    const request = {
      filePath: 'gone.mp3',
      audioFolder: plainFolder(dir),
      root: dir,
      memory: undefined,
      remembered: undefined,
    }
    const error = await readers.load(request).catch(thrown => thrown)
    expect(error).toBeInstanceOf(LocalFileError)
    expect(error).toMatchObject({
      problem: 'missing',
      message: expect.stringContaining('gone.mp3'),
      cure: /\w/,
    })
  })

  test('reads parts, and hashes whole files, several at once', async () => {
    const contents = [Buffer.alloc(2_500_000, 'x'), Buffer.alloc(1_048_576, 'y'), Buffer.alloc(0)]
    await Promise.all(
      contents.map(async (content, index) => {
        const file = path.join(dir, String(index))
        writeFileSync(file, content)
        const handle = await open(file)
        try {
          const crcs = [
            content.subarray(0, 1_000_000),
            content.subarray(1_000_000, 2_000_000),
            content.subarray(2_000_000),
          ]
          expect(await readers.hash(handle.fd, 1_000_000)).toEqual({
            ...sums(content),
            size: content.length,
            parts: crcs.filter(part => part.length > 0).map(part => crc32(part)),
          })
          expect(await readers.hash(handle.fd)).toMatchObject(sums(content))
          const part = shared(1_000_000)
          const expected = content.subarray(500_000, 1_500_000)
          const read = await readers.read(handle.fd, part, 500_000, { crc32: index < 2, sha256: index === 0 })
          expect(read).toEqual({
            size: expected.length,
            crc32: index < 2 ? crc32(expected) : undefined,
            sha256: index === 0 ? hash('sha256', expected) : undefined,
          })
          expect(part.subarray(0, read.size).equals(expected)).toBe(true)
        } finally {
          await handle.close()
        }
      }),
    )
  })

  test('an unreadable descriptor is an error with its code', async () => {
    await expect(readers.hash(2 ** 20)).rejects.toMatchObject({ code: 'EBADF' })
    // Of a track's file it is that file's problem, and not a bug.
    const error = await readers
      .hashSource({ descriptor: 2 ** 20, relative: 'a/b.mp3' })
      .catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(LocalFileError)
    expect(error).toMatchObject({ problem: 'unreadable', message: 'a/b.mp3 cannot be read: EBADF' })
  })

  test('threads that others have done with are taken over; what is in the middle of something is ended', async () => {
    const contents = [Buffer.alloc(100_000, 'x'), Buffer.alloc(100_000, 'y')]
    const pieces = contents.map(content => {
      const piece = shared(content.length)
      content.copy(piece)
      return piece
    })
    const before = new Readers(1)
    const unfinished = new Readers(1)
    const first = before.hashPieces()
    await first.update(pieces[0]!)
    expect(await first.end()).toBe(hash('sha256', contents[0]!))
    await unfinished.hashPieces().update(pieces[0]!)
    await Promise.all([before.close(), unfinished.close()])
    const after = new Readers(3)
    try {
      // One that had gone on with what another had begun would give another hash.
      const hashes = [1, 2, 3].map(() => after.hashPieces())
      await Promise.all(hashes.map(one => one.update(pieces[1]!)))
      const expected = hash('sha256', contents[1]!)
      expect(await Promise.all(hashes.map(one => one.end()))).toEqual([expected, expected, expected])
    } finally {
      await after.close()
    }
    await after.close()
  })

  test('what cannot be brought onto the disk is given no name', async () => {
    const [from, to] = [path.join(dir, 'draft'), path.join(dir, 'finished')]
    writeFileSync(from, 'x')
    // A device has nothing to sync, and says so.
    const device = openSync('/dev/null', 'r+')
    await expect(readers.finish(from, to, device)).rejects.toMatchObject({ code: 'EINVAL' })
    expect([existsSync(from), existsSync(to)]).toEqual([true, false])
    expect(await readers.finish(from, to, openSync(from, 'r+'))).toBe('moved')
    expect([existsSync(from), existsSync(to)]).toEqual([false, true])
  })
})

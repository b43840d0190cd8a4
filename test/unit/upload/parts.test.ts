import { execFileSync } from 'node:child_process'
import { hash } from 'node:crypto'
import { mkdirSync, mkdtempSync, renameSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { crc32 } from 'node:zlib'
import { afterAll, describe, expect, test } from 'vitest'
import { BufferPool } from '../../../src/audio-files/buffer-pool.ts'
import { Readers } from '../../../src/audio-files/readers.ts'
import { LocalFileError, openSource } from '../../../src/audio-files/source.ts'
import { plainFolder } from '../../../src/core/audio-path.ts'
import { parseBandwidth } from '../../../src/core/bandwidth.ts'
import { Throttle } from '../../../src/throttle.ts'

const KiB = 1024

describe('buffers under a budget', () => {
  test('waits, first come first served, and grants as room is given back', async () => {
    const pool = new BufferPool(256 * KiB)
    const first = await pool.lease(128 * KiB)
    const second = await pool.lease(128 * KiB)
    const order: string[] = []
    const third = pool.lease(128 * KiB).then(lease => {
      order.push('third')
      return lease
    })
    const fourth = pool.lease(64 * KiB).then(lease => {
      order.push('fourth')
      return lease
    })
    await new Promise(setImmediate)
    expect(order).toEqual([])
    first.release()
    first.release()
    await third
    expect(order).toEqual(['third'])
    second.release()
    await fourth
    expect(order).toEqual(['third', 'fourth'])
    expect(pool.allocated).toBeLessThanOrEqual(256 * KiB)
  })

  test('uses buffers again, and lets those of another size go when room is needed', async () => {
    const pool = new BufferPool(192 * KiB)
    const first = await pool.lease(120 * KiB)
    const memory = first.bytes.buffer
    first.release()
    const again = await pool.lease(100 * KiB)
    expect(again.bytes.buffer === memory).toBe(true)
    again.release()
    ;(await pool.lease(192 * KiB)).release()
    expect(pool.allocated).toBe(192 * KiB)
  })

  test('one buffer over the budget is lent, alone', async () => {
    const pool = new BufferPool(64 * KiB)
    const large = await pool.lease(1024 * KiB)
    expect(large.bytes.length).toBe(1024 * KiB)
    let granted = false
    const waiting = pool.lease(1).then(lease => {
      granted = true
      return lease
    })
    await new Promise(setImmediate)
    expect(granted).toBe(false)
    large.release()
    ;(await waiting).release()
  })

  test('an aborted wait leaves the queue', async () => {
    const pool = new BufferPool(64 * KiB)
    const held = await pool.lease(64 * KiB)
    const controller = new AbortController()
    const waiting = pool.lease(64 * KiB, controller.signal)
    const next = pool.lease(64 * KiB)
    controller.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
    held.release()
    ;(await next).release()
  })
})

describe('hashing off the main thread', () => {
  const readers = new Readers(2)
  const dir = mkdtempSync(path.join(tmpdir(), 'autodj-read-'))
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
  })
})

describe('a file as a source', () => {
  const root = mkdtempSync(path.join(tmpdir(), 'autodj-source-'))
  const outside = mkdtempSync(path.join(tmpdir(), 'autodj-outside-'))
  const nfd = 'Déjà vu.mp3'.normalize('NFD')
  writeFileSync(path.join(root, 'song.mp3'), 'content')
  writeFileSync(path.join(root, 'empty.mp3'), '')
  mkdirSync(path.join(root, 'Motörhead'.normalize('NFD')))
  writeFileSync(path.join(root, 'Motörhead'.normalize('NFD'), nfd), 'content')
  writeFileSync(path.join(outside, 'secret.mp3'), 'secret')
  symlinkSync(path.join(outside, 'secret.mp3'), path.join(root, 'escape.mp3'))
  symlinkSync(outside, path.join(root, 'outside'))
  symlinkSync('song.mp3', path.join(root, 'link.mp3'))
  symlinkSync('circle.mp3', path.join(root, 'circle.mp3'))
  execFileSync('mkfifo', [path.join(root, 'pipe.mp3')])

  test.each([
    ['song.mp3'],
    ['link.mp3'],
    [path.join(root, 'song.mp3')],
    [path.join('Motörhead'.normalize('NFC'), nfd.normalize('NFC'))],
    [path.join('Motörhead'.normalize('NFD'), nfd.normalize('NFC'))],
  ])('%s is found', async filePath => {
    const source = await openSource(filePath, plainFolder(root), root)
    const bytes = Buffer.alloc(source.size)
    await source.read(bytes, 0)
    await source.close()
    expect(bytes.toString()).toBe('content')
  })

  test.each([
    ['gone.mp3', 'missing'],
    ['song.mp3/below', 'missing'],
    ['empty.mp3', 'empty'],
    ['Motörhead'.normalize('NFD'), 'not-a-file'],
    ['pipe.mp3', 'not-a-file'],
    ['circle.mp3', 'loop'],
    ['escape.mp3', 'refused'],
    ['outside/secret.mp3', 'refused'],
    ['../x.mp3', 'refused'],
    ['/etc/passwd', 'refused'],
    ['a\0b', 'refused'],
    ['x'.repeat(5_000), 'refused'],
  ])('%j is %s', async (filePath, problem) => {
    const error = await openSource(filePath, plainFolder(root), root).catch(thrown => thrown)
    expect(error).toBeInstanceOf(LocalFileError)
    expect(error).toMatchObject({ problem, cure: expect.stringMatching(/\w/) })
  })

  test.each([
    ['grew', (file: string) => writeFileSync(file, 'longer than before')],
    ['was touched', (file: string) => utimesSync(file, 1, 1)],
  ])('a file that %s while it was read is found out', async (_how, change) => {
    const file = path.join(root, 'changing.mp3')
    writeFileSync(file, 'content')
    const source = await openSource('changing.mp3', plainFolder(root), root)
    change(file)
    await expect(source.assertUnchanged()).rejects.toMatchObject({ problem: 'changed' })
    await source.close()
  })

  test('a file that was cut short does not end in zeroes, one that was replaced is read as it was', async () => {
    const file = path.join(root, 'cut.mp3')
    writeFileSync(file, 'long content')
    const cut = await openSource('cut.mp3', plainFolder(root), root)
    writeFileSync(file, 'short')
    await expect(cut.read(Buffer.alloc(12), 0)).rejects.toMatchObject({ problem: 'changed' })
    await cut.close()
    const replaced = await openSource('cut.mp3', plainFolder(root), root)
    writeFileSync(path.join(root, 'new.mp3'), 'other')
    renameSync(path.join(root, 'new.mp3'), file)
    const bytes = Buffer.alloc(5)
    await replaced.read(bytes, 0)
    expect(bytes.toString()).toBe('short')
    await replaced.close()
  })
})

test('a bandwidth limit: what is sent is paid for before more is', async () => {
  let now = new Date('2026-11-23T12:00:00').getTime()
  const throttle = new Throttle(
    parseBandwidth('12:00,1M 12:01,off'),
    () => now,
    async milliseconds => {
      now += milliseconds
    },
  )
  const startedAt = now
  const passed: number[] = []
  for (let count = 0; count < 100; count++) {
    await throttle.pass(1024 ** 2, new AbortController().signal)
    passed.push(Math.round((now - startedAt) / 1_000))
  }
  expect(passed.slice(0, 5)).toEqual([1, 2, 3, 4, 5])
  expect(passed.at(-1)).toBe(60)
})

/** One file into one object: what the engine makes of each state of file, store and earlier uploads. */
import { createHash, randomUUID } from 'node:crypto'
import {
  appendFileSync,
  readdirSync,
  readlinkSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { crc32 } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { Readers } from '../../../src/audio-files/readers.ts'
import { plainFolder } from '../../../src/core/audio-path.ts'
import { encodeCrc32 } from '../../../src/core/crc32.ts'
import {
  openUploads,
  recordParts,
  recordUpload,
  startRun,
  type UploadRecord,
} from '../../../src/db/ledger.ts'
import type { ObjectStore } from '../../../src/storage/store.ts'
import { StoreError } from '../../../src/storage/store.ts'
import { Throttle } from '../../../src/throttle.ts'
import { headersAsText } from '../../../src/upload/resume.ts'
import { TransferEngine, type TransferJob, type TransferOptions } from '../../../src/upload/transfer.ts'
import { UploadLedger } from '../../../src/upload/upload-ledger.ts'
import { fakeAudio, type TestBed } from '../../support/bed.ts'
import { embeddedBed } from '../../support/beds.ts'
import { pgliteTestDatabase } from '../../support/database.ts'
import { broken, hooked, once, type StoreHooks } from '../../support/hooked-store.ts'

const partSize = 1000
const key = 'audio/a.flac'
const small = fakeAudio(800, 1)
/** Four parts and a half. */
const large = fakeAudio(4500, 2)
const sha256 = (of: Uint8Array) => createHash('sha256').update(of).digest('hex')
const readers = new Readers(1)

let bed: TestBed
let own: string
beforeAll(async () => {
  ;({ bed } = await embeddedBed(await pgliteTestDatabase(), { minPartSize: partSize }))
})
afterAll(async () => {
  await readers.close()
  await bed.close()
})
beforeEach(async () => {
  await bed.reset()
  own = randomUUID()
  await startRun(bed.database.knex, run(own), 3_600)
})
const run = (id: string) => ({ id, command: 'upload-local', args: {}, host: 'here', pid: 1, version: '0' })

/** The readers, some of whose methods are the test's. */
const watching = (methods: Partial<Pick<Readers, 'load' | 'read' | 'hashSource'>>) =>
  new Proxy(readers, {
    get: (target, name) => {
      const value = Reflect.get(methods, name) ?? Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })

class PlainThrottle extends Throttle {
  readonly passed: number[] = []
  constructor() {
    super(undefined)
  }
  override async pass(bytes: number, signal?: AbortSignal): Promise<void> {
    expect(signal).toBeInstanceOf(AbortSignal)
    this.passed.push(bytes)
  }
}

/** What is at hand of an engine: what it passed, warned of, and how to stop it. */
function engineOf(hooks: StoreHooks = {}, options: Partial<TransferOptions> = {}) {
  const store = hooked(bed.store, hooks)
  const stopping = new AbortController()
  const forcing = new AbortController()
  const throttle = new PlainThrottle()
  const warnings: string[] = []
  const details: string[] = []
  const bytes: number[] = []
  const ledger = new UploadLedger(bed.database, store, own)
  const engine = new TransferEngine({
    store,
    ledger,
    report: { warn: text => void warnings.push(text), note() {}, detail: text => void details.push(text) },
    maxConcurrency: 2,
    initialConcurrency: 2,
    partSize,
    multipartThreshold: 2000,
    throttle,
    readers,
    stopping: stopping.signal,
    signal: forcing.signal,
    onBytes: more => bytes.push(more),
    audioFolder: plainFolder(bed.audioRoot),
    keyPrefix: 'audio/',
    memory: 64 * 2 ** 20,
    maxOutage: 0,
    ...options,
  })
  return { engine, store, stopping, forcing, throttle, warnings, details, bytes, ledger }
}
const absolute = (name: string) => path.join(bed.audioRoot, name)
const write = (content: Uint8Array, name = 'a.flac') => writeFileSync(absolute(name), content)
const job = (more: Partial<TransferJob> = {}): TransferJob => ({
  trackId: 'the track',
  artist: 'A',
  title: 'T',
  filePath: 'a.flac',
  existingKey: key,
  size: null,
  remembered: undefined,
  ...more,
})
/** An earlier hash of the file as it is now. */
function hashed(content: Uint8Array, more: Partial<NonNullable<TransferJob['remembered']>> = {}) {
  const { size, mtimeNs, ctimeNs, ino: inode, dev: device } = statSync(absolute('a.flac'), { bigint: true })
  return {
    size: Number(size),
    mtimeNs,
    ctimeNs,
    inode,
    device,
    sha256: sha256(content),
    crc32: encodeCrc32(crc32(content)),
    ...more,
  } as NonNullable<TransferJob['remembered']>
}
const stored = async (at = key) => await bed.content(at)
const uploadsLeft = async () => ({
  store: await bed.openUploads(),
  ledger: (await openUploads(bed.database.knex, { bucket: bed.store.bucket })).map(one => one.key),
})
const none = { store: [], ledger: [] }
const kept = { store: [key], ledger: [key] }
const failing = (kind: ConstructorParameters<typeof StoreError>[0]) => () => {
  throw new StoreError(kind, 'told by the store')
}

describe('a small file', () => {
  test('goes in one request, of its bytes and sums, and only if nothing is there', async () => {
    write(small)
    const asked: unknown[] = []
    const headers = { storageClass: 'STANDARD_IA' } as const
    const at = engineOf({ put: { before: (...args) => asked.push(args) } }, { headers })
    const done = await at.engine.transfer(job())
    expect(done).toMatchObject({
      state: 'uploaded',
      bytesSent: 800,
      object: { key, proof: 'store', size: 800 },
    })
    expect(asked).toEqual([
      [
        key,
        expect.anything(),
        {
          headers: {
            storageClass: 'STANDARD_IA',
            contentType: 'audio/flac',
            cacheControl: 'public, max-age=31536000, immutable',
            metadata: {
              sha256: sha256(small),
              'track-id': 'the track',
              library: expect.stringMatching(/^[0-9a-f]{16}$/),
            },
          },
          checksums: {
            crc32: encodeCrc32(crc32(small)),
            sha256: createHash('sha256').update(small).digest('base64'),
          },
          ifNoneMatch: true,
          signal: at.forcing.signal,
        },
      ],
    ])
    expect(await stored()).toEqual(small)
    expect([at.throttle.passed, at.bytes]).toEqual([[800], [800]])
    expect(at.engine.statistics).toMatchObject({ confirmed: 1, readBack: 0, concurrency: 2 })
    expect(at.engine.fileSlots).toBe(4)
  })
  test.each([
    ['nothing of it known', null, 1],
    ['its size', 800, 1],
    ['a size too small', 799, 2],
    ['a size too large', 1999, 1],
    ['the size of a large file', 2001, 2],
  ])('%s: it is read so often', async (_what, size, loads) => {
    write(small)
    let count = 0
    const counting = watching({
      load: (...args: Parameters<Readers['load']>) => {
        count++
        return readers.load(...args)
      },
    })
    const { engine } = engineOf({}, { readers: counting })
    expect(await engine.transfer(job({ size }))).toMatchObject({ state: 'uploaded', bytesSent: 800 })
    // Where nothing is known it is only looked at first; where it is taken for large, opened for it.
    expect(count).toBe(size === null ? 2 : size === 2001 ? 1 : loads)
    expect(await stored()).toEqual(small)
  })
  test('of the largest size, and one byte more', async () => {
    for (const [size, parts] of [
      [2000, 0],
      [2001, 3],
    ] as const) {
      write(fakeAudio(size, 3))
      let sent = 0
      const { engine } = engineOf({ uploadPart: { before: () => sent++ } })
      const done = await engine.transfer(job({ existingKey: `audio/${size}` }))
      expect(done).toMatchObject({ state: 'uploaded', bytesSent: size })
      expect(sent).toBe(parts)
    }
  })
  test('an empty one is no file to send', async () => {
    write(Buffer.alloc(0))
    expect(await engineOf().engine.transfer(job())).toMatchObject({ state: 'skipped' })
    expect((await bed.objects()).size).toBe(0)
  })
  test('that never keeps its size is given up', async () => {
    write(small)
    let size = 800
    const growing = watching({
      load: (...args: Parameters<Readers['load']>) => {
        size += 10
        appendFileSync(absolute('a.flac'), Buffer.alloc(10, 7))
        return readers.load(...args)
      },
    })
    const { engine } = engineOf({}, { readers: growing })
    expect(await engine.transfer(job({ size: 100 }))).toMatchObject({
      state: 'skipped',
      reason: expect.stringContaining('changing size'),
    })
    // Three looks, and three more for one that has changed.
    expect(size).toBe(860)
    expect((await bed.objects()).size).toBe(0)
  })
  test('what is known of it is asked for while it is the same file, with its time of change and its place', async () => {
    write(small)
    const asked: unknown[] = []
    const seeing = watching({
      load: (request: Parameters<Readers['load']>[0]) => {
        asked.push(request.remembered)
        return readers.load(request)
      },
    })
    const { engine } = engineOf({}, { readers: seeing })
    const remembered = hashed(small)
    const { ctimeNs, inode, device } = remembered
    await engine.transfer(job({ remembered }))
    for (const unknown of [{ ctimeNs: null }, { inode: null }, { device: null }])
      await engine.transfer(job({ existingKey: null, size: 800, remembered: { ...remembered, ...unknown } }))
    expect(asked).toEqual([
      { ...remembered, ctimeNs, inode, device, crc32: crc32(small) },
      undefined,
      undefined,
      undefined,
    ])
  })
  test('that arrives damaged is sent three times, no more', async () => {
    write(small)
    let puts = 0
    const damage = (times: number): StoreHooks => ({
      put: {
        after: answer => (++puts <= times ? { ...answer, checksums: { crc32: encodeCrc32(1) } } : undefined),
      },
    })
    expect(await engineOf(damage(2)).engine.transfer(job())).toMatchObject({ state: 'uploaded' })
    expect(puts).toBe(3)
    puts = 0
    await bed.store.delete([{ key }])
    expect(await engineOf(damage(9)).engine.transfer(job())).toMatchObject({
      state: 'failed',
      code: expect.stringMatching(/^store\./),
    })
    expect(puts).toBe(3)
    expect((await bed.objects()).size).toBe(0)
  })
  test.each<[string, Uint8Array | undefined, object, number]>([
    ['the same bytes', small, { state: 'adopted', bytesSent: 0 }, 0],
    ['other bytes', fakeAudio(800, 9), { state: 'failed', code: 'upload.conflict' }, 0],
  ])('where %s are', async (_what, there, expected, sent) => {
    write(small)
    await bed.store.put(key, there as Buffer, { headers: { contentType: 'audio/flac' }, checksums: {} })
    const { engine, bytes } = engineOf()
    expect(await engine.transfer(job())).toMatchObject(expected)
    expect(bytes).toHaveLength(sent)
    expect(await stored()).toEqual(there)
  })
  test('whose answer is lost has met its own effect', async () => {
    write(small)
    const lost = once(() => {
      throw broken()
    })
    const { engine } = engineOf({ put: { after: lost } }, { maxOutage: 60_000 })
    expect(await engine.transfer(job())).toMatchObject({ state: 'adopted', object: { key } })
    expect(await stored()).toEqual(small)
  })
  test('refused by the store is told in its words; given up, by the reason', async () => {
    write(small)
    expect(await engineOf({ put: { before: failing('denied') } }).engine.transfer(job())).toMatchObject({
      state: 'failed',
      code: 'store.denied',
      reason: 'told by the store',
    })
    await expect(engineOf({ put: { before: failing('aborted') } }).engine.transfer(job())).rejects.toThrow()
    const at = engineOf()
    at.forcing.abort(new Error('enough'))
    await expect(at.engine.transfer(job())).rejects.toThrow('enough')
    const bug = new TypeError('a bug')
    const odd = engineOf({
      put: {
        before: () => {
          throw bug
        },
      },
    })
    await expect(odd.engine.transfer(job())).rejects.toBe(bug)
  })
  test('that is missing is skipped, one that may not be followed failed: neither is looked for again', async () => {
    let looks = 0
    const counting = watching({ load: (...args) => readers.load(...args).finally(() => looks++) })
    const { engine } = engineOf({}, { readers: counting })
    const missing = await engine.transfer(job({ filePath: 'gone.flac' }))
    expect(missing).toMatchObject({ state: 'skipped', code: 'file.missing' })
    expect(await engine.transfer(job({ filePath: '../a.flac' }))).toMatchObject({ state: 'failed' })
    expect(looks).toBe(2)
  })
})

test('small files are read many at a time, others as many as threads have to do', async () => {
  const most = async (size: number) => {
    let [now, peak] = [0, 0]
    const counting = watching({
      load: async (...args) => {
        peak = Math.max(peak, ++now)
        // Whatever is to be read at a time has come here by then.
        await new Promise(resolve => setTimeout(resolve, 5))
        return readers.load(...args).finally(() => now--)
      },
    })
    const { engine } = engineOf({}, { readers: counting, multipartThreshold: 1_000_000 })
    const names = Array.from({ length: 6 }, (_, number) => `${size} ${number}.flac`)
    for (const [number, name] of names.entries()) write(fakeAudio(size, number), name)
    const ends = await Promise.all(
      names.map(filePath => engine.transfer(job({ filePath, existingKey: `audio/${filePath}`, size }))),
    )
    expect(ends.map(({ state }) => state)).toEqual(names.map(() => 'uploaded'))
    return peak
  }
  expect(await most(512 * 1024)).toBe(6)
  expect(await most(512 * 1024 + 1)).toBe(2)
})

test.each([
  ['a.XyZ', 'xyz'],
  ['a b.tar.gz', 'gz'],
  ['no ending', 'bin'],
  ['.hidden but long ending', 'bin'],
])('%s, which nobody recognises, keeps its ending: %s', async (name, extension) => {
  write(Buffer.from('no audio at all, but a text'), name)
  const done = await engineOf().engine.transfer(job({ filePath: name, existingKey: null }))
  expect(done).toMatchObject({ state: 'uploaded', object: { contentType: 'application/octet-stream' } })
  expect('object' in done && done.object.key.split('.').at(-1)).toBe(extension)
  // One that is recognised has the ending of what it is.
  write(small, name)
  const known = await engineOf().engine.transfer(job({ filePath: name, existingKey: null }))
  expect('object' in known && known.object.key).toMatch(/\.flac$/)
})

test('memory for two parts is enough for any number of them, and of files', async () => {
  write(fakeAudio(20_000, 4))
  const memory = 4 * 2 * partSize
  expect(await engineOf({}, { memory }).engine.transfer(job())).toMatchObject({
    state: 'uploaded',
    bytesSent: 20_000,
  })
  const { engine } = engineOf({ put: { before: once(failing('denied')) } }, { memory })
  const names = Array.from({ length: 8 }, (_, number) => `${number}.flac`)
  for (const name of names) write(small, name)
  const ends = await Promise.all(
    names.map(filePath => engine.transfer(job({ filePath, existingKey: `audio/${filePath}`, size: 800 }))),
  )
  expect(ends.map(({ state }) => state).sort()).toEqual(['failed', ...new Array(7).fill('uploaded')])
})

describe('two files for one key at a time', () => {
  const pair = async (first: Uint8Array, second: Uint8Array, hooks: StoreHooks = {}) => {
    write(first, 'a.flac')
    write(second, 'b.flac')
    let puts = 0
    const { engine } = engineOf({
      ...hooks,
      put: {
        before: (...args) => {
          puts++
          return hooks.put?.before?.(...args)
        },
      },
    })
    const ends = await Promise.all([
      engine.transfer(job({ size: first.length })),
      engine.transfer(job({ filePath: 'b.flac', size: second.length })),
    ])
    return { states: ends.map(({ state }) => state).sort(), puts, engine, ends }
  }
  test('one is sent where they are the same, and is there for a third', async () => {
    const { states, puts, engine, ends } = await pair(small, small)
    expect([states, puts]).toEqual([['shared', 'uploaded'], 1])
    expect(ends.find(({ state }) => state === 'shared')).toMatchObject({ bytesSent: 0, object: { key } })
    expect(await engine.transfer(job())).toMatchObject({ state: 'adopted' })
  })
  test('the other is refused where they are not', async () => {
    const { states, puts, ends } = await pair(small, fakeAudio(800, 5))
    expect([states, puts]).toEqual([['failed', 'uploaded'], 1])
    expect(ends.find(({ state }) => state === 'failed')).toMatchObject({ code: 'upload.conflict' })
  })
  test('one goes on by itself where the other failed', async () => {
    const { states } = await pair(small, small, { put: { before: once(failing('denied')) } })
    expect(states).toEqual(['failed', 'uploaded'])
  })
})

describe('a large file', () => {
  test('goes in parts, each under its own sum, and only if nothing is there', async () => {
    write(large)
    const asked: Record<string, unknown[]> = { parts: [], complete: [], create: [] }
    const at = engineOf({
      createUpload: { before: (...args) => asked['create']?.push(args) },
      uploadPart: {
        before: (_key, _id, number, body, options) => asked['parts']?.push([number, body.length, options]),
      },
      completeUpload: { before: (_key, _id, parts, options) => asked['complete']?.push([parts, options]) },
    })
    const done = await at.engine.transfer(job())
    expect(done).toMatchObject({
      state: 'uploaded',
      bytesSent: 4500,
      object: { key, size: 4500, proof: 'store' },
    })
    expect(await stored()).toEqual(large)
    const { signal } = at.forcing
    const piece = (i: number) => large.subarray(i * partSize, (i + 1) * partSize)
    expect(asked['parts']?.toSorted((a, b) => (a as number[])[0]! - (b as number[])[0]!)).toEqual(
      [0, 1, 2, 3, 4].map(i => [
        i + 1,
        piece(i).length,
        { crc32: encodeCrc32(crc32(piece(i))), signal, sha256: undefined },
      ]),
    )
    expect(asked['create']).toEqual([
      [key, { headers: expect.objectContaining({ contentType: 'audio/flac' }), signal }],
    ])
    expect(asked['complete']).toEqual([
      [
        [1, 2, 3, 4, 5].map(partNumber => expect.objectContaining({ partNumber })),
        { checksums: { crc32: encodeCrc32(crc32(large)) }, size: 4500, ifNoneMatch: true, signal },
      ],
    ])
    expect(at.throttle.passed.sort()).toEqual([1000, 1000, 1000, 1000, 500])
    expect(at.bytes.sort()).toEqual([1000, 1000, 1000, 1000, 500])
    expect(await uploadsLeft()).toEqual(none)
  })
  test('whose payload is signed goes with a SHA-256 for each part', async () => {
    write(large)
    const sums: unknown[] = []
    const { engine } = engineOf({}, {})
    expect(engine).toBeDefined()
    const signing: ObjectStore = {
      ...bed.store,
      signsPayload: true,
      uploadPart: (...args) => {
        sums.push(args[4].sha256)
        return bed.store.uploadPart(...args)
      },
    }
    const again = engineOf({}, { store: signing })
    expect(await again.engine.transfer(job())).toMatchObject({ state: 'uploaded' })
    expect(sums.sort()).toEqual(
      [0, 1, 2, 3, 4]
        .map(i =>
          createHash('sha256')
            .update(large.subarray(i * 1000, (i + 1) * 1000))
            .digest('base64'),
        )
        .sort(),
    )
  })
  test('no more parts are on their way than are asked for', async () => {
    write(fakeAudio(20_000, 4))
    let [now, most] = [0, 0]
    const counting: StoreHooks = {
      uploadPart: {
        before: () => {
          most = Math.max(most, ++now)
        },
        after: () => {
          now--
        },
      },
    }
    await engineOf(counting, { maxConcurrency: 3, initialConcurrency: 3 }).engine.transfer(job())
    expect(most).toBeLessThanOrEqual(3)
    expect(most).toBeGreaterThan(1)
  })
  test('with memory for two of them at a time has two in hand, and no more', async () => {
    write(fakeAudio(20_000, 4))
    let [now, most] = [0, 0]
    const { promise: both, resolve: isSecond } = Promise.withResolvers<void>()
    const counting: StoreHooks = {
      uploadPart: {
        before: () => {
          most = Math.max(most, ++now)
          if (now === 2) isSecond()
          return both
        },
        after: () => {
          now--
        },
      },
    }
    // A quarter of it is for content, in buffers of 64 KiB at least.
    const options = { memory: 4 * 2 * 64 * 1024, maxConcurrency: 16, initialConcurrency: 16 }
    const done = await engineOf(counting, options).engine.transfer(job())
    expect([done.state, most]).toEqual(['uploaded', 2])
  })
  test('behind a tag is what it is', async () => {
    const tag = Buffer.alloc(10 + 1_000)
    tag.write('ID3')
    // Its length in sevens of bits: 1,000.
    tag.set([3, 0, 0, 0, 0, 7, 104], 3)
    write(Buffer.concat([tag, large]))
    const done = await engineOf().engine.transfer(job())
    expect(done).toMatchObject({ state: 'uploaded', object: { contentType: 'audio/flac' } })
  })
  test('of which nobody counts the bytes, as for a worker', async () => {
    for (const content of [small, large]) {
      write(content)
      const { engine } = engineOf({}, { onBytes: undefined as never })
      const done = await engine.transfer(job({ existingKey: `audio/${content.length}` }))
      expect(done).toMatchObject({ state: 'uploaded', bytesSent: content.length })
    }
  })
  test('is closed, whatever becomes of it', async () => {
    write(large)
    const open = () =>
      readdirSync('/proc/self/fd').filter(fd => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`) === absolute('a.flac')
        } catch {
          return false
        }
      })
    await engineOf({ uploadPart: { before: failing('denied') } }).engine.transfer(job())
    await engineOf().engine.transfer(job())
    expect(open()).toEqual([])
  })
  test('of which less is read than there is, is no file to send', async () => {
    write(large)
    const short = watching({
      hashSource: async (...args) => ({ ...(await readers.hashSource(...args)), size: 4_499 }),
    })
    const { engine } = engineOf({}, { readers: short })
    expect(await engine.transfer(job())).toMatchObject({ state: 'skipped', code: 'file.changed' })
    expect([await stored(), await uploadsLeft()]).toEqual([undefined, none])
  })
  test('that becomes shorter has no part sent beyond its end', async () => {
    write(large)
    const sent: number[] = []
    const { engine } = engineOf({
      createUpload: { after: once(() => truncateSync(absolute('a.flac'), 4_100)) },
      uploadPart: { before: (_key, _id, number) => void sent.push(number) },
    })
    expect(await engine.transfer(job())).toMatchObject({ state: 'uploaded', object: { size: 4_100 } })
    expect(sent.sort()).toEqual([1, 1, 2, 2, 3, 3, 4, 4, 5])
  })
  test.each<[string, Uint8Array, object]>([
    ['the same bytes', large, { state: 'adopted', bytesSent: 0 }],
    ['other bytes', fakeAudio(4500, 9), { state: 'failed', code: 'upload.conflict' }],
  ])('where %s are: nothing of it is sent', async (_what, there, expected) => {
    write(large)
    await bed.store.put(key, Buffer.from(there), { headers: { contentType: 'audio/flac' }, checksums: {} })
    const { engine } = engineOf({ createUpload: { before: () => expect.unreachable() } })
    expect(await engine.transfer(job())).toMatchObject(expected)
    expect(await stored()).toEqual(there)
    expect(await uploadsLeft()).toEqual(none)
  })

  type Fault = [
    what: string,
    hooks: (at: () => ReturnType<typeof engineOf>) => StoreHooks,
    end: object | string,
    left: object,
    content: Uint8Array | undefined,
  ]
  const otherLarge = fakeAudio(4500, 7)
  const put = (body: Uint8Array) =>
    bed.store.put(key, Buffer.from(body), { headers: { contentType: 'audio/flac' }, checksums: {} })
  test.each<Fault>([
    [
      'it is told to stop at the second part',
      at => ({
        uploadPart: {
          before: (_k, _i, number) => {
            if (number === 2) at().stopping.abort('sigint')
          },
        },
      }),
      { state: 'interrupted', code: 'interrupted' },
      kept,
      undefined,
    ],
    [
      'a part is refused',
      () => ({
        uploadPart: {
          before: (_k, _i, number) => {
            if (number === 2) failing('denied')()
          },
        },
      }),
      { state: 'failed', code: 'store.denied' },
      none,
      undefined,
    ],
    [
      'a part is refused, of a file that has changed: what the store says is the reason',
      () => ({
        createUpload: { after: once(() => write(otherLarge)) },
        uploadPart: { before: once(failing('denied')) },
      }),
      { state: 'failed', code: 'store.denied' },
      none,
      undefined,
    ],
    [
      'the store is away',
      () => ({
        uploadPart: {
          before: () => {
            throw broken()
          },
        },
        checkBucket: {
          before: () => {
            throw broken()
          },
        },
      }),
      'throws',
      kept,
      undefined,
    ],
    [
      'a part is given up',
      at => ({
        uploadPart: {
          before: () => {
            at().forcing.abort(new Error('a second signal'))
            at().forcing.signal.throwIfAborted()
          },
        },
      }),
      'throws',
      none,
      undefined,
    ],
    [
      'its end is refused',
      () => ({ completeUpload: { before: failing('denied') } }),
      { state: 'failed', code: 'store.denied' },
      none,
      undefined,
    ],
    [
      'another writes the same first',
      () => ({ completeUpload: { before: async () => void (await put(large)) } }),
      { state: 'uploaded', bytesSent: 4500, object: { proof: 'read-back' } },
      none,
      large,
    ],
    [
      'another writes another first',
      () => ({ completeUpload: { before: async () => void (await put(otherLarge)) } }),
      { state: 'failed', code: 'upload.conflict' },
      none,
      otherLarge,
    ],
    [
      'the answer to its end says that other bytes are there',
      () => ({ completeUpload: { after: answer => ({ ...answer, checksums: { crc32: encodeCrc32(1) } }) } }),
      { state: 'failed', code: expect.stringMatching(/^store\./) },
      none,
      undefined,
    ],
    [
      'the file changes before its end',
      () => ({
        uploadPart: {
          after: once(() => {
            write(otherLarge)
          }),
        },
      }),
      { state: 'uploaded' },
      none,
      otherLarge,
    ],
    [
      'the file changes once all its parts are sent',
      () => {
        let sent = 0
        return {
          uploadPart: {
            after: () => {
              if (++sent === 5) write(otherLarge)
            },
          },
        }
      },
      { state: 'uploaded' },
      none,
      otherLarge,
    ],
    [
      'the file becomes shorter',
      () => ({
        createUpload: {
          after: once(() => {
            truncateSync(absolute('a.flac'), 4100)
          }),
        },
      }),
      { state: 'uploaded' },
      none,
      large.subarray(0, 4100),
    ],
    [
      'its time of change alone is another',
      () => ({
        uploadPart: {
          after: once(() => {
            utimesSync(absolute('a.flac'), 1, 1)
          }),
        },
      }),
      { state: 'uploaded' },
      none,
      large,
    ],
  ])('%s', async (_what, hooks, end, left, content) => {
    write(large)
    const at: ReturnType<typeof engineOf> = engineOf(hooks(() => at))
    const done = at.engine.transfer(job())
    if (end === 'throws') await expect(done).rejects.toThrow()
    else expect(await done).toMatchObject(end as object)
    expect(await uploadsLeft()).toEqual(left)
    const there = await stored()
    if (content === undefined) expect(there).toBeUndefined()
    else expect(there).toEqual(Buffer.from(content))
  })
  test('told to stop takes no new part, and what is under way is kept', async () => {
    write(fakeAudio(20_000, 4))
    let sent = 0
    const at: ReturnType<typeof engineOf> = engineOf({
      uploadPart: {
        before: () => {
          if (++sent === 3) at.stopping.abort('sigterm')
        },
      },
    })
    expect(await at.engine.transfer(job())).toMatchObject({ state: 'interrupted' })
    expect(sent).toBeLessThanOrEqual(4)
    await at.ledger.close()
    const [upload] = await openUploads(bed.database.knex, { bucket: bed.store.bucket })
    expect(upload?.parts.length).toBe(sent)
  })
  test('a failure takes no new part', async () => {
    write(fakeAudio(20_000, 4))
    let sent = 0
    const { engine } = engineOf({
      uploadPart: {
        before: () => {
          sent++
          failing('denied')()
        },
      },
    })
    expect(await engine.transfer(job())).toMatchObject({ state: 'failed' })
    expect(sent).toBeLessThanOrEqual(2)
  })
  test('that cannot be aborted is told, and the failure is the first', async () => {
    write(large)
    const at = engineOf({
      uploadPart: { before: failing('denied') },
      abortUpload: { before: failing('unavailable') },
    })
    expect(await at.engine.transfer(job())).toMatchObject({ state: 'failed', code: 'store.denied' })
    expect(at.details.join()).toContain('could not be aborted')
    expect(await uploadsLeft()).toEqual(kept)
  })
  test('a part that is damaged on its way is one thing, a file that is no longer what was hashed another', async () => {
    write(large)
    const remembered = hashed(large)
    let sent = 0
    const damage = once(failing('bad-digest'))
    const damaged = engineOf({
      uploadPart: {
        before: () => {
          sent++
          return damage()
        },
      },
    })
    // That part is sent again, and no other.
    expect([(await damaged.engine.transfer(job())).state, sent]).toEqual(['uploaded', 6])
    // Hashed with what it no longer holds: its whole is another, and it is hashed anew.
    const wrong = engineOf({}, {})
    const done = await wrong.engine.transfer(
      job({
        existingKey: 'audio/b.flac',
        remembered: { ...remembered, sha256: sha256(otherLarge), crc32: encodeCrc32(1) },
      }),
    )
    expect(done).toMatchObject({ state: 'uploaded', object: { sha256: sha256(large) } })
    expect(await stored('audio/b.flac')).toEqual(large)
    expect((await uploadsLeft()).store).toEqual([])
  })
  test('an earlier hash of it is believed while it is the same file', async () => {
    write(large)
    let hashes = 0
    let sums: boolean[] = []
    const counting = watching({
      hashSource: (...args) => {
        hashes++
        return readers.hashSource(...args)
      },
      read: (...args) => {
        sums.push(args[3].crc32)
        return readers.read(...args)
      },
    })
    const { engine } = engineOf({}, { readers: counting })
    const remembered = hashed(large)
    expect(await engine.transfer(job({ remembered }))).toMatchObject({ state: 'uploaded' })
    // The sum of a part is taken once: while all of it is hashed, or where that was before, while it is sent.
    expect([hashes, sums]).toEqual([0, new Array(5).fill(true)])
    sums = []
    const changed = job({ existingKey: 'audio/b.flac', remembered: { ...remembered, mtimeNs: 1n } })
    expect(await engine.transfer(changed)).toMatchObject({ state: 'uploaded' })
    expect([hashes, sums]).toEqual([1, new Array(5).fill(false)])
  })
})

describe('an upload that an earlier run began', () => {
  const text = headersAsText({
    contentType: 'audio/flac',
    cacheControl: 'public, max-age=31536000, immutable',
  })
  /** Begun by a run that is dead, with these parts; in the ledger as told. */
  async function begun(
    parts: number[],
    {
      size = partSize,
      damaged = 0,
      noted = [] as number[],
      ...record
    }: Partial<UploadRecord> & { size?: number; damaged?: number; noted?: number[] } = {},
  ) {
    const uploadId = await bed.store.createUpload(key, { headers: { contentType: 'audio/flac' } })
    for (const number of parts) {
      const bytes = Buffer.from(large.subarray((number - 1) * size, number * size))
      if (number === damaged) bytes.fill(0x77)
      const sent = await bed.store.uploadPart(key, uploadId, number, bytes, {
        crc32: encodeCrc32(crc32(bytes)),
      })
      if (noted.includes(number))
        await recordParts(bed.database.knex, uploadId, [
          { partNumber: number, size: bytes.length, etag: sent.etag, crc32: encodeCrc32(crc32(bytes)) },
        ]).catch(() => {})
    }
    const { mtimeNs, ino } = statSync(absolute('a.flac'), { bigint: true })
    await recordUpload(bed.database.knex, {
      key,
      uploadId,
      bucket: bed.store.bucket,
      path: 'a.flac',
      inode: ino,
      mtimeNs,
      sha256: sha256(large),
      headers: text,
      runId: null,
      ...record,
      size: 4500,
      partSize: size,
    })
    return uploadId
  }
  test.each<[string, Parameters<typeof begun>, number[], RegExp | undefined]>([
    ['with two parts: the others are sent', [[1, 3]], [2, 4, 5], undefined],
    ['with all: nothing is sent', [[1, 2, 3, 4, 5]], [], undefined],
    ['with none', [[]], [1, 2, 3, 4, 5], undefined],
    ['with one that is no longer what it should be', [[1, 2], { damaged: 2 }], [2, 3, 4, 5], undefined],
    ['in parts of another size', [[1], { size: 1500 }], [2, 3], undefined],
    ['of other content', [[1, 2], { sha256: sha256(small) }], [1, 2, 3, 4, 5], undefined],
    [
      'with other headers',
      [[1, 2], { headers: headersAsText({ contentType: 'audio/flac', storageClass: 'GLACIER' }) }],
      [1, 2, 3, 4, 5],
      /^a\.flac: an earlier run started it with another storage class, cache control; it is sent again from the start$|another/,
    ],
    ['with headers that nobody noted', [[1, 2], { headers: null }], [3, 4, 5], undefined],
  ])('%s', async (_what, [parts, record], sent, warning) => {
    write(large)
    await begun(parts, record)
    const numbers: number[] = []
    const at = engineOf({ uploadPart: { before: (_k, _i, number) => void numbers.push(number) } })
    const done = await at.engine.transfer(job())
    expect(done).toMatchObject({
      state: sent.length === 0 ? 'adopted' : 'uploaded',
      object: { sha256: sha256(large) },
    })
    expect(numbers.sort()).toEqual(sent)
    if (warning === undefined) expect(at.warnings).toEqual([])
    else expect(at.warnings.join()).toMatch(warning)
    expect(await stored()).toEqual(large)
    expect(await uploadsLeft()).toEqual(none)
  })
  test('twice: one is gone on with, the other aborted', async () => {
    write(large)
    await begun([1, 2])
    await begun([1, 2])
    const numbers: number[] = []
    const { engine } = engineOf({ uploadPart: { before: (_k, _i, number) => void numbers.push(number) } })
    expect(await engine.transfer(job())).toMatchObject({ state: 'uploaded', bytesSent: 2500 })
    expect(numbers.sort()).toEqual([3, 4, 5])
    expect(await uploadsLeft()).toEqual(none)
  })
  test('that the store no longer knows is forgotten', async () => {
    write(large)
    const uploadId = await begun([1, 2])
    await bed.store.abortUpload(key, uploadId)
    expect(await engineOf().engine.transfer(job())).toMatchObject({ state: 'uploaded', bytesSent: 4500 })
    expect(await uploadsLeft()).toEqual(none)
  })
  test('is this run’s from then on', async () => {
    write(large)
    await begun([1])
    const at: ReturnType<typeof engineOf> = engineOf({
      uploadPart: { before: () => at.stopping.abort('sigint') },
    })
    expect(await at.engine.transfer(job())).toMatchObject({ state: 'interrupted' })
    const [upload] = await openUploads(bed.database.knex, { bucket: bed.store.bucket })
    expect(upload?.runId).toBe(own)
  })
})

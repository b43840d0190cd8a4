/** The last step of a restored file, by each way in which it may end; and what comes between the look and that step. */
import { createHash } from 'node:crypto'
import {
  closeSync,
  existsSync,
  linkSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { Downloader } from '../../src/audio-files/downloader.ts'
import { Readers } from '../../src/audio-files/readers.ts'
import { observeFileEffects } from '../../src/file-effects.ts'
import { RestoreBatch } from '../../src/restore/restore.ts'
import { StoreError } from '../../src/storage/store.ts'
import { fakeAudio, type TestBed } from '../support/bed.ts'
import { embeddedBed } from '../support/beds.ts'
import { pgliteTestDatabase } from '../support/database.ts'
import { hooked, type StoreHooks } from '../support/hooked-store.ts'

const key = 'audio/a.flac'
const content = fakeAudio(3_000, 5)
const other = fakeAudio(3_000, 6)
const sha256 = createHash('sha256').update(content).digest('hex')
const readers = new Readers(1)
let bed: TestBed
beforeAll(async () => {
  ;({ bed } = await embeddedBed(await pgliteTestDatabase()))
})
afterAll(async () => {
  await readers.close()
  await bed.close()
})
beforeEach(async () => {
  await bed.reset()
  await bed.store.put(key, content, {
    headers: { contentType: 'audio/flac', metadata: { sha256 } },
    checksums: {},
  })
})

type Finish = Readers['finish']
const at = (name: string) => path.join(bed.audioRoot, name)
function batchOf(finish: Finish | undefined, hooks: StoreHooks = {}) {
  const threads = new Proxy(readers, {
    get: (target, name) => {
      if (name === 'finish' && finish !== undefined) return finish
      const value = Reflect.get(target, name, target) as unknown
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  const turns: string[] = []
  const requests = {
    inTurn: async <T>(use: () => Promise<T>) => {
      turns.push('in')
      return use().finally(() => turns.push('out'))
    },
    ask: <T>(request: () => Promise<T>) => request(),
    carry: <T>(_bytes: number, request: () => Promise<T>) => request(),
  }
  const { signal } = new AbortController()
  const store = hooked(bed.store, hooks)
  const downloader = new Downloader({ store, threads: readers, memory: 1 << 24, requests, signal })
  return { batch: new RestoreBatch(store, downloader, bed.audioRoot, { threads, requests, signal }), turns }
}
const restored = (finish?: Finish, hooks?: StoreHooks) =>
  batchOf(finish, hooks).batch.restore({ key, file: at('a.flac'), sha256, size: 3_000 })
const end =
  (answer: Awaited<ReturnType<Finish>>, act: (from: string, to: string) => void = () => {}): Finish =>
  async (from, to, descriptor) => {
    closeSync(descriptor)
    act(from, to)
    return answer
  }

test.each<[string, Finish | undefined, object, Buffer | undefined]>([
  ['moved', undefined, { state: 'restored' }, content],
  // The name is there, and only its content tells whose it is.
  ['unsure, and it is the same', end('unsure', linkSync), { state: 'restored' }, content],
  [
    'unsure, and it is another',
    end('unsure', (_, to) => writeFileSync(to, other)),
    { state: 'failed', code: 'file.exists' },
    other,
  ],
  [
    'taken by the same',
    end('taken', (_, to) => writeFileSync(to, content)),
    { state: 'there-already' },
    content,
  ],
  [
    'taken by another',
    end('taken', (_, to) => writeFileSync(to, other)),
    { state: 'failed', code: 'file.exists' },
    other,
  ],
  ['taken, and free again', end('taken'), { state: 'failed', code: 'file.exists' }, undefined],
  ['no links: moved', end('no-links'), { state: 'restored' }, content],
  [
    'no links: taken',
    end('no-links', (_, to) => writeFileSync(to, other)),
    { state: 'failed', code: 'file.exists' },
    other,
  ],
])('%s', async (_what, finish, expected, there) => {
  expect(await restored(finish)).toMatchObject(expected)
  expect(existsSync(at('a.flac')) ? readFileSync(at('a.flac')) : undefined).toEqual(there)
  expect(readdirSync(bed.audioRoot)).toEqual(there === undefined ? [] : ['a.flac'])
})

test('a draft that another process has replaced is not removed: it is not ours', async () => {
  const replaced = end('another', from => {
    rmSync(from)
    writeFileSync(from, other)
  })
  expect(await restored(replaced)).toMatchObject({ state: 'failed', code: 'file.changed' })
  const [draft] = readdirSync(bed.audioRoot)
  expect(readFileSync(at(draft as string))).toEqual(other)
})

test('what has come to lie in an archive while it was written is no copy to compare with', async () => {
  const archive: StoreHooks = {
    getInto: { after: got => got && { ...got, head: { ...got.head, archive: 'archived' } } },
  }
  const unsure = end('unsure', linkSync)
  expect(await restored(unsure, archive)).toMatchObject({ state: 'failed', code: 'object.archived' })
})

test('names are made to last once, and those of unsure ones too', async () => {
  const { batch, turns } = batchOf(undefined)
  await batch.restore({ key, file: at('a/1.flac'), sha256, size: 3_000 })
  await batch.restore({ key, file: at('a/2.flac'), sha256, size: 3_000 })
  const unsure = batchOf(end('unsure', linkSync)).batch
  await unsure.restore({ key, file: at('b/3.flac'), sha256, size: 3_000 })
  const synced: string[] = []
  const stop = observeFileEffects(({ kind, path: folder }) => {
    if (kind === 'sync') synced.push(path.relative(bed.audioRoot, folder))
  })
  await batch.sync()
  await batch.sync()
  await unsure.sync()
  stop()
  expect(synced).toEqual(['a', 'b'])
  expect(turns).toEqual(['in', 'out', 'in', 'out'])
})

test.each<[string, StoreHooks, object | string]>([
  [
    'it is gone',
    { getInto: { after: () => null }, head: { after: () => null } },
    { state: 'failed', code: 'object.missing' },
  ],
  [
    'it lies in an archive',
    {
      getInto: {
        before: () => {
          throw new StoreError('archived', 'x')
        },
      },
    },
    { state: 'failed', code: 'object.archived' },
  ],
  [
    'it may not be read',
    {
      getInto: {
        before: () => {
          throw new StoreError('denied', 'no')
        },
      },
    },
    'no',
  ],
])('%s', async (_what, hooks, expected) => {
  const done = restored(undefined, hooks)
  if (typeof expected === 'string') await expect(done).rejects.toThrow(expected)
  else expect(await done).toMatchObject(expected)
  expect(readdirSync(bed.audioRoot)).toEqual([])
})

test('a folder that could not be made is tried again', async () => {
  writeFileSync(at('a'), 'in the way')
  const { batch } = batchOf(undefined)
  const target = { key, file: at('a/1.flac'), sha256, size: 3_000 }
  expect(await batch.restore(target)).toMatchObject({ state: 'failed', code: 'file.exists' })
  renameSync(at('a'), at('b'))
  expect(await batch.restore(target)).toMatchObject({ state: 'restored' })
})

/** What is written lasts before anything rests on it: each sync, and what it comes before. */
import { spawnSync } from 'node:child_process'
import {
  closeSync,
  constants,
  fstatSync,
  linkSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { acquireLockFile } from '../../src/db/lock-file.ts'
import { ExternalSorter } from '../../src/external-sort/sorter.ts'
import {
  announceEffects,
  isOneFile,
  moveIfFree,
  observeFileEffects,
  openDirect,
  removeIfThere,
  replaceFile,
  syncDescriptor,
  syncFile,
  syncFolder,
  takeAside,
  writeWhole,
} from '../../src/file-effects.ts'
import { PlanJournal } from '../../src/plan/journal.ts'
import { makePlanHeader, PlanBuilder } from '../../src/plan/plan-file.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

let folder: string
let effects: string[]
let end: () => void
/** What names of drafts hold that no two runs share. */
const plain = (file: string): string => path.relative(folder, file).replaceAll(/[0-9a-f]{8}[0-9a-f-]*/g, 'ID')

beforeEach(() => {
  folder = temporaryFolder('effects')
  effects = []
  end = observeFileEffects(({ kind, path: file, to }) => {
    effects.push(`${kind} ${plain(file)}${to === undefined ? '' : ` → ${plain(to)}`}`)
  })
})
afterEach(() => end())
const at = (name: string): string => path.join(folder, name)

test('a file that is replaced: content, then name, then the folder', async () => {
  writeFileSync(at('a'), 'old')
  await replaceFile(at('a'), 'new', { mode: 0o600 })
  expect(effects).toEqual(['write a.ID', 'sync a.ID', 'rename a.ID → a', 'sync '])
  expect(readFileSync(at('a'), 'utf8')).toBe('new')
  expect(statSync(at('a')).mode & 0o777).toBe(0o600)
})

test('what is written follows what was written before', async () => {
  const handle = await open(at('a'), 'w')
  for (const text of ['é…', 'z']) await writeWhole({ handle, path: at('a') }, text)
  await handle.close()
  expect(readFileSync(at('a'), 'utf8')).toBe('é…z')
})

test('a file that cannot be replaced stays as it was, and no draft is left', async () => {
  writeFileSync(at('a'), 'old')
  for (const kind of ['write', 'sync', 'rename']) {
    const fails = observeFileEffects(effect => {
      if (effect.kind === kind) throw Object.assign(new Error('no room'), { code: 'ENOSPC' })
    })
    await expect(replaceFile(at('a'), 'new', { mode: 0o600 })).rejects.toMatchObject({ code: 'ENOSPC' })
    fails()
    expect([kind, readdirSync(folder), readFileSync(at('a'), 'utf8')]).toEqual([kind, ['a'], 'old'])
  }
})

test('a link stays, and what it leads to is replaced; what is no file is refused', async () => {
  writeFileSync(at('a'), 'old')
  symlinkSync('a', at('link'))
  await replaceFile(at('link'), 'new', { mode: 0o600 })
  expect(readFileSync(at('a'), 'utf8')).toBe('new')
  expect(readlinkSync(at('link'))).toBe('a')
  // Not the machine's /dev/null: where this fails, that is a file.
  spawnSync('mkfifo', [at('pipe')])
  symlinkSync('pipe', at('device'))
  for (const name of ['device', 'pipe', ''])
    await expect(replaceFile(at(name), 'new', { mode: 0o600 })).rejects.toMatchObject({ code: 'EINVAL' })
  expect(readdirSync(folder).sort()).toEqual(['a', 'device', 'link', 'pipe'])
})

test.runIf(process.platform === 'linux')('a sync is one, of files, folders and numbers', async () => {
  const handle = await open(at('a'), 'w')
  const prototype = Object.getPrototypeOf(handle) as FileHandle
  const { sync } = prototype
  const synced: string[] = []
  prototype.sync = function (this: FileHandle) {
    synced.push(readlinkSync(`/proc/self/fd/${this.fd}`))
    return sync.call(this)
  }
  try {
    await syncFile({ handle, path: at('a') })
    await syncFolder(folder)
  } finally {
    prototype.sync = sync
  }
  expect(synced).toEqual([at('a'), folder].map(one => realpathSync(one)))
  const { fd } = handle
  await syncDescriptor(fd, at('a'))
  await handle.close()
  await expect(syncDescriptor(fd, at('a'))).rejects.toMatchObject({ code: 'EBADF' })
})

test('a file that goes, and one that is put back: the folder knows it', async () => {
  for (const name of ['gone', 'back']) writeFileSync(at(name), name)
  await (await takeAside(at('gone'))).remove()
  expect(effects).toEqual([
    'mkdir .autodj-removing-ID',
    'rename gone → .autodj-removing-ID/gone',
    'unlink .autodj-removing-ID/gone',
    'rmdir .autodj-removing-ID',
    'sync ',
  ])
  effects = []
  expect(await (await takeAside(at('back'))).putBack()).toBe(at('back'))
  expect(effects).toEqual([
    'mkdir .autodj-removing-ID',
    'rename back → .autodj-removing-ID/back',
    'link .autodj-removing-ID/back → back',
    'unlink .autodj-removing-ID/back',
    'rmdir .autodj-removing-ID',
    'sync ',
  ])
  expect(readdirSync(folder)).toEqual(['back'])
})

test("a folder's sync: that it cannot be had is no error, that it failed is one", async () => {
  const failing = (code: string) =>
    observeFileEffects(({ kind }) => {
      if (kind === 'sync') throw Object.assign(new Error(code), { code })
    })
  for (const code of ['EINVAL', 'ENOTSUP', 'EACCES', 'EPERM', 'EISDIR']) {
    const stop = failing(code)
    await syncFolder(folder).finally(stop)
  }
  for (const code of ['EIO', 'ENOSPC', 'EDQUOT', 'ESTALE', 'EMFILE', 'ENFILE', 'ENOMEM']) {
    const stop = failing(code)
    await expect(syncFolder(folder).finally(stop)).rejects.toMatchObject({ code })
  }
  await syncFolder(at('not there'))
  // What is gone is gone: it is not put back because of it.
  writeFileSync(at('gone'), 'gone')
  const stop = failing('EIO')
  await (await takeAside(at('gone'))).remove().finally(stop)
  expect(readdirSync(folder)).toEqual([])
})

test('without hard links a name that is taken is refused as well, and one that is free is given', async () => {
  const without = observeFileEffects(effect => {
    if (effect.kind === 'link') throw Object.assign(new Error('no links here'), { code: 'EPERM' })
  })
  for (const name of ['from', 'taken']) writeFileSync(at(name), name)
  expect(await moveIfFree(at('from'), at('taken'))).toBe(false)
  expect(readFileSync(at('taken'), 'utf8')).toBe('taken')
  expect(await moveIfFree(at('from'), at('free'))).toBe(true)
  without()
  expect(readdirSync(folder).sort()).toEqual(['free', 'taken'])
  expect(readFileSync(at('free'), 'utf8')).toBe('from')
})

test('without hard links: what cannot be renamed leaves no placeholder; what cannot be made is told', async () => {
  writeFileSync(at('from'), 'from')
  const failing = (codes: Record<string, string>) =>
    observeFileEffects(({ kind }) => {
      if (codes[kind]) throw Object.assign(new Error(kind), { code: codes[kind] })
    })
  for (const code of ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK', 'EXDEV']) {
    const stop = failing({ link: code, rename: 'EIO' })
    await expect(moveIfFree(at('from'), at('to')).finally(stop)).rejects.toMatchObject({ code: 'EIO' })
    expect(readdirSync(folder)).toEqual(['from'])
  }
  const stop = failing({ link: 'EIO' })
  await expect(moveIfFree(at('from'), at('to')).finally(stop)).rejects.toMatchObject({ code: 'EIO' })
  const without = failing({ link: 'EPERM' })
  const nowhere = path.join(at('nowhere'), 'to')
  await expect(moveIfFree(at('from'), nowhere).finally(without)).rejects.toMatchObject({ code: 'ENOENT' })
  expect(readFileSync(at('from'), 'utf8')).toBe('from')
})

test('a file that cannot be taken aside is where it was, and one that is taken finds its name taken', async () => {
  writeFileSync(at('a'), 'a')
  const stop = observeFileEffects(({ kind }) => {
    if (kind === 'rename') throw Object.assign(new Error('busy'), { code: 'EBUSY' })
  })
  await expect(takeAside(at('a')).finally(stop)).rejects.toMatchObject({ code: 'EBUSY' })
  expect(readdirSync(folder)).toEqual(['a'])
  const aside = await takeAside(at('a'))
  expect(statSync(path.dirname(aside.path)).mode & 0o777).toBe(0o700)
  writeFileSync(at('a'), 'new')
  expect(await aside.putBack()).toBe(aside.path)
  expect([readFileSync(at('a'), 'utf8'), readFileSync(aside.path, 'utf8')]).toEqual(['new', 'a'])
})

test('two names are one file if they lead to one, and not if one leads nowhere', async () => {
  writeFileSync(at('a'), 'a')
  writeFileSync(at('b'), 'a')
  linkSync(at('a'), at('c'))
  symlinkSync('a', at('d'))
  const pairs = [
    ['a', 'a', true],
    ['a', 'c', true],
    ['a', 'b', false],
    ['a', 'd', false],
    ['a', 'gone', false],
    ['gone', 'a', false],
    ['gone', 'gone too', false],
  ] as const
  for (const [left, right, expected] of pairs)
    expect([left, right, await isOneFile(at(left), at(right))]).toEqual([left, right, expected])
})

test('an open file is opened once more past the cache, where its file system can', () => {
  const file = import.meta.filename
  let isAble = 'O_DIRECT' in constants
  try {
    closeSync(openSync(file, constants.O_WRONLY | constants.O_DIRECT))
  } catch {
    isAble = false
  }
  const open = openSync(file, 'r')
  const direct = openDirect(open)
  expect(direct !== undefined).toBe(isAble)
  if (direct !== undefined) {
    expect(fstatSync(direct).ino).toBe(fstatSync(open).ino)
    closeSync(direct)
  }
  closeSync(open)
  expect(openDirect(open)).toBeUndefined()
})

test('a write that comes short is gone on with; one that writes nothing at all is an error', async () => {
  const handle = await open(at('a'), 'w')
  const prototype = Object.getPrototypeOf(handle) as { write: (...args: unknown[]) => unknown }
  const { write } = prototype
  try {
    prototype.write = function (this: unknown, bytes: unknown, start: unknown) {
      return write.call(this, bytes, start, 3)
    }
    await writeWhole({ handle, path: at('a') }, 'twelve bytes')
    expect(readFileSync(at('a'), 'utf8')).toBe('twelve bytes')
    prototype.write = async () => ({ bytesWritten: 0 })
    await expect(writeWhole({ handle, path: at('a') }, 'x')).rejects.toMatchObject({ code: 'EIO' })
    await writeWhole({ handle, path: at('a') }, '')
    prototype.write = async () => {
      throw Object.assign(new Error('full'), { code: 'ENOSPC' })
    }
    await expect(writeWhole({ handle, path: at('a') }, 'x')).rejects.toMatchObject({
      code: 'ENOSPC',
      path: at('a'),
    })
  } finally {
    prototype.write = write
    await handle.close()
  }
})

test('what is removed if it is there is told where it cannot be removed', async () => {
  await removeIfThere(at('gone'))
  await expect(removeIfThere(folder)).rejects.toMatchObject({ syscall: 'unlink' })
  await announceEffects({ kind: 'write', path: at('a') }, { kind: 'sync', path: at('a') })
  expect(effects.slice(-2)).toEqual(['write a', 'sync a'])
})

test('what a plan is about to do is in its journal, on the disk', async () => {
  writeFileSync(at('a.plan'), '')
  const journal = await PlanJournal.open(at('a.plan'), 'plan-1', 3)
  effects = []
  await journal.write([{ seq: 1, state: 'begun' }])
  expect(effects).toEqual(['write a.plan.journal', 'sync a.plan.journal'])
  await journal.close()
})

test('a plan is on the disk before it has its name', async () => {
  const sorter = new ExternalSorter(folder, 'plan')
  const builder = new PlanBuilder(sorter)
  await builder.add(
    { action: 'remove-object', object: { key: 'a', size: 1, etag: 'e' }, to: 'quarantine/a' },
    'orphan-object',
  )
  // Counted as they come, for whoever asks before it is written.
  expect(builder.removals).toBe(1)
  const row = { key: null, source: null, size: null, path: null }
  await builder.add(
    { action: 'update-row', trackId: 'x', was: row, becomes: { ...row, path: 'a' } },
    'no-audio',
  )
  expect(builder.removals).toBe(1)
  const header = makePlanHeader({
    id: '0b4c8d1e-5f60-4a7b-8c9d-0e1f2a3b4c5d',
    command: 'reconcile',
    now: Date.now(),
    validFor: 1_000,
    bucket: 'music',
    versioned: false,
    seen: { rows: 1, objects: 1 },
  })
  await builder.write(at('a.plan'), header)
  expect(effects.slice(-3)).toEqual(['sync a.plan.ID.tmp', 'rename a.plan.ID.tmp → a.plan', 'sync '])
})

test('a lock is on the disk before it has its name', async () => {
  const lock = await acquireLockFile(at('lock'), 'test')
  expect(effects).toEqual(['sync lock.ID.draft', 'link lock.ID.draft → lock'])
  effects = []
  await lock.release()
  expect(effects).toEqual(['unlink lock'])
})

/** What is written lasts before anything rests on it: each sync, and what it comes before. */
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { acquireLockFile } from '../../src/db/lock-file.ts'
import { ExternalSorter } from '../../src/external-sort/sorter.ts'
import {
  moveIfFree,
  observeFileEffects,
  replaceFile,
  syncDescriptor,
  syncFile,
  syncFolder,
  takeAside,
} from '../../src/file-effects.ts'
import { PlanJournal } from '../../src/plan/journal.ts'
import { makePlanHeader, PlanBuilder } from '../../src/plan/plan-file.ts'

let folder: string
let effects: string[]
let end: () => void
/** What names of drafts hold that no two runs share. */
const plain = (file: string): string => path.relative(folder, file).replaceAll(/[0-9a-f]{8}[0-9a-f-]*/g, 'ID')

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'autodj-effects-'))
  effects = []
  end = observeFileEffects(({ kind, path: file, to }) => {
    effects.push(`${kind} ${plain(file)}${to === undefined ? '' : ` → ${plain(to)}`}`)
  })
})
afterEach(() => {
  end()
  rmSync(folder, { recursive: true, force: true })
})
const at = (name: string): string => path.join(folder, name)

test('a file that is replaced: content, then name, then the folder', async () => {
  writeFileSync(at('a'), 'old')
  await replaceFile(at('a'), 'new', { mode: 0o600 })
  expect(effects).toEqual(['write a.ID', 'sync a.ID', 'rename a.ID → a', 'sync '])
  expect(readFileSync(at('a'), 'utf8')).toBe('new')
  expect(statSync(at('a')).mode & 0o777).toBe(0o600)
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
  symlinkSync('/dev/null', at('device'))
  for (const name of ['device', ''])
    await expect(replaceFile(at(name), 'new', { mode: 0o600 })).rejects.toMatchObject({ code: 'EINVAL' })
  expect(readdirSync(folder).sort()).toEqual(['a', 'device', 'link'])
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
  for (const code of ['EIO', 'ENOSPC', 'EDQUOT', 'ESTALE']) {
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

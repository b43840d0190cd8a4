import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { acquireLockFile } from '../../../src/db/lock-file.ts'
import { checkTempSpace } from '../../../src/doctor/machine.ts'
import { ExitCode } from '../../../src/errors.ts'
import { observeFileEffects } from '../../../src/file-effects.ts'
import { makeTempFolder, sweepTempFolders } from '../../../src/runs/temp-folders.ts'

const outer = tmpdir()
let dir: string

beforeEach(() => {
  dir = mkdtempSync(path.join(outer, 'autodj-sweep-'))
  vi.stubEnv('TMPDIR', dir)
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(dir, { recursive: true })
})

const { pid: deadPid } = spawnSync(process.execPath, ['-e', ''])

function holder(pid: number, host = hostname()): string {
  return JSON.stringify({ pid, host, command: 'x', since: '', startedAt: null, token: randomUUID() })
}

test('what dead runs left is swept, the folder of a live one stays', async () => {
  const live = await makeTempFolder(randomUUID())
  writeFileSync(path.join(live.path, 'download'), 'x')
  const dead = path.join(dir, `autodj-run-${randomUUID()}`)
  mkdirSync(dead)
  writeFileSync(path.join(dead, 'download'), 'x')
  writeFileSync(`${dead}.lock`, holder(deadPid))
  writeFileSync(path.join(dir, 'notes.txt'), 'of somebody')
  expect(await sweepTempFolders()).toBe(1)
  expect(existsSync(dead)).toBe(false)
  expect(readdirSync(live.path)).toEqual(['download'])
  await live.remove()
  expect(readdirSync(dir)).toEqual(['notes.txt'])
})

test('only what has the name of a run, as its folder or its lock, is looked at', async () => {
  const run = () => `autodj-run-${randomUUID()}`
  const stay = [`x${run()}`, `${run()}x`, `${run()}.old`, `${run()}.lockx`, 'autodj-run-1', `${run()}.lock.`]
  for (const name of [run(), ...stay]) mkdirSync(path.join(dir, name))
  // Of this one only its lock is left.
  writeFileSync(path.join(dir, `${run()}.lock`), holder(deadPid))
  expect(await sweepTempFolders()).toBe(2)
  expect(readdirSync(dir).sort()).toEqual(stay.sort())
})

test('a folder of that name which already exists is not worked in, whoever made it', async () => {
  const id = randomUUID()
  mkdirSync(path.join(dir, `autodj-run-${id}`), { mode: 0o777 })
  await expect(makeTempFolder(id)).rejects.toMatchObject({
    code: 'config.temp-folder',
    message: expect.stringContaining(id),
  })
  expect(readdirSync(dir)).toEqual([`autodj-run-${id}`])
})

test('a FIFO or a link of the name of a lock holds nobody up, and leads nowhere', async () => {
  const precious = path.join(dir, 'precious')
  writeFileSync(precious, 'x')
  const fifo = path.join(dir, `autodj-run-${randomUUID()}.lock`)
  spawnSync('mkfifo', [fifo])
  symlinkSync(precious, path.join(dir, `autodj-run-${randomUUID()}.lock`))
  symlinkSync(dir, path.join(dir, `autodj-run-${randomUUID()}`))
  await sweepTempFolders()
  expect(readFileSync(precious, 'utf8')).toBe('x')
  expect(existsSync(fifo)).toBe(true)
})

test.runIf(process.getuid?.() === 0)(
  "another user's folders, locks and drafts stay, also for root",
  async () => {
    const run = path.join(dir, `autodj-run-${randomUUID()}`)
    mkdirSync(run)
    writeFileSync(`${run}.lock`, holder(deadPid))
    writeFileSync(`${run}.lock.x.draft`, holder(deadPid))
    for (const file of [run, `${run}.lock`, `${run}.lock.x.draft`]) chownSync(file, 65_534, 65_534)
    const half = path.join(dir, `autodj-run-${randomUUID()}`)
    mkdirSync(half)
    writeFileSync(`${half}.lock`, holder(deadPid))
    chownSync(half, 65_534, 65_534)
    const before = readdirSync(dir)
    expect(await sweepTempFolders()).toBe(0)
    expect(readdirSync(dir)).toEqual(before)
  },
)

test('a TMPDIR that is not there is not made, and named', async () => {
  const missing = path.join(dir, 'scratch')
  vi.stubEnv('TMPDIR', missing)
  for (const use of [() => makeTempFolder(randomUUID()), sweepTempFolders]) {
    await expect(use()).rejects.toMatchObject({
      code: 'config.temp-folder',
      message: `the folder for temporary files, ${missing}, does not exist`,
      cure: expect.stringContaining('TMPDIR'),
    })
  }
  writeFileSync(missing, '')
  await expect(sweepTempFolders()).rejects.toThrow(`${missing}, is not a folder`)
  rmSync(missing)
  // What is something else is told as the system tells it.
  symlinkSync(missing, missing)
  await expect(sweepTempFolders()).rejects.toMatchObject({ code: 'ELOOP' })
  rmSync(missing)
  expect(await checkTempSpace()).toMatchObject({ state: 'failure', cause: `${missing} does not exist` })
  expect(readdirSync(dir)).toEqual([])
})

test('a sweep that meets the lock of a run half made is waited for', async () => {
  const id = randomUUID()
  const sweeping = await acquireLockFile(path.join(dir, `autodj-run-${id}.lock`), 'sweeping')
  const making = makeTempFolder(id)
  making.catch(() => {})
  await Promise.race([making.catch(() => {}), new Promise(resolve => setTimeout(resolve, 120))])
  await sweeping.release()
  const made = await making
  expect(existsSync(made.path)).toBe(true)
  await made.remove()
  expect(readdirSync(dir)).toEqual([])
})

test('drafts of locks go with the process that died over them', async () => {
  const lock = `autodj-run-${randomUUID()}.lock`
  const put = (name: string, text: string) => writeFileSync(path.join(dir, name), text)
  put(`${lock}.dead.draft`, holder(deadPid))
  put(`${lock}.guard`, holder(deadPid))
  put(`${lock}.guard.dead.draft`, holder(deadPid))
  put(`${lock}.cut-off.draft`, '{"pid"')
  // What is no file stays, and keeps nothing else from being swept.
  mkdirSync(path.join(dir, `${lock}.a-folder`))
  for (const old of ['cut-off.draft', 'a-folder']) utimesSync(path.join(dir, `${lock}.${old}`), 1, 1)
  const stay = [`${lock}.elsewhere.draft`, `${lock}.live.draft`, `${lock}.written-now.draft`]
  put(stay[0] as string, holder(deadPid, 'another host'))
  put(stay[1] as string, holder(process.pid))
  put(stay[2] as string, '')
  expect(await sweepTempFolders()).toBe(1)
  expect(readdirSync(dir).sort()).toEqual([`${lock}.a-folder`, ...stay])
})

test.each<[string, number | RegExp]>([
  ['EACCES', 0],
  ['EPERM', 0],
  ['EIO', /cannot be created: .*i\/o error/i],
])('a lock that cannot be had, by %s: it is not ours to touch, or the disk fails', async (code, expected) => {
  const dead = path.join(dir, `autodj-run-${randomUUID()}`)
  mkdirSync(dead)
  const end = observeFileEffects(({ kind }) => {
    if (kind === 'sync') throw Object.assign(new Error(code), { code })
  })
  const sweeping = sweepTempFolders().finally(end)
  if (typeof expected === 'number') expect(await sweeping).toBe(expected)
  else await expect(sweeping).rejects.toThrow(expected)
  expect(readdirSync(dir)).toEqual([path.basename(dead)])
})

test.each([
  ['ENOSPC', ExitCode.temporary, /^no space is left for /],
  ['EROFS', ExitCode.fatal, /^cannot access /],
  ['ENAMETOOLONG', ExitCode.fatal, /./],
])('a folder that %s keeps from being made is told as what it is', async (code, exitCode, message) => {
  const end = observeFileEffects(({ kind }) => {
    if (kind === 'sync') throw Object.assign(new Error(code), { code })
  })
  const error = await makeTempFolder(randomUUID())
    .finally(end)
    .catch(thrown => thrown)
  expect(error).toMatchObject({ exitCode, message: expect.stringMatching(message) })
  expect(readdirSync(dir)).toEqual([])
})

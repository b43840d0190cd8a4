import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { acquireLockFile, type LockHolder } from '../../src/db/lock-file.ts'
import { ExitCode, LockedError } from '../../src/errors.ts'
import { observeFileEffects } from '../../src/file-effects.ts'
import { startChild, startVia } from '../support/child.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

describe('lock file', () => {
  let folder: string
  let path: string

  beforeEach(async () => {
    folder = temporaryFolder('lock')
    path = join(folder, 'db.lock')
  })

  /** A pid that no process has: that of a child that has ended and was waited for. */
  const deadPid = async (): Promise<number> => {
    const child = startChild('lock-child.ts', join(folder, 'unused'))
    await child.line()
    await child.kill()
    await rm(join(folder, 'unused'))
    return child.process.pid!
  }
  const holder = (change: Partial<LockHolder>): LockHolder => ({
    pid: process.pid,
    host: hostname(),
    command: 'autodj import',
    since: '2024-01-02T03:04:05.678Z',
    startedAt: 'long ago',
    token: 'the-token',
    ...change,
  })
  const write = (file: string, change: Partial<LockHolder>) => writeFile(file, JSON.stringify(holder(change)))

  test('is exclusive, also within one process, and free after release', async () => {
    const lock = await acquireLockFile(path, 'autodj first')
    const refused = acquireLockFile(path, 'autodj second')
    await expect(refused).rejects.toThrow(LockedError)
    await expect(refused).rejects.toThrow(
      `locked by autodj first (pid ${process.pid}) since ${lock.holder.since}`,
    )
    expect(await readdir(folder)).toEqual(['db.lock'])
    await lock.release()
    expect(await readdir(folder)).toEqual([])
    await (await acquireLockFile(path, 'autodj second')).release()
  })

  test('of which the file is gone is let go all the same', async () => {
    const lock = await acquireLockFile(path, 'me')
    const held = () =>
      readdirSync('/proc/self/fd').filter(fd => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`).startsWith(folder)
        } catch {
          return false
        }
      })
    if (existsSync('/proc/self/fd')) expect(held()).toHaveLength(1)
    await rm(path)
    await expect(lock.release()).resolves.toBeUndefined()
    if (existsSync('/proc/self/fd')) expect(held()).toEqual([])
  })

  test('that a bug keeps from being taken is no lock file that cannot be created', async () => {
    const bug = new TypeError('a bug')
    const end = observeFileEffects(() => {
      throw bug
    })
    await expect(acquireLockFile(path, 'me').finally(end)).rejects.toBe(bug)
  })

  test('of which nobody tells a container is told of without one', async () => {
    const { startedAt } = (await acquireLockFile(join(folder, 'other'), 'me')).holder
    await write(path, { startedAt, kernelLock: false })
    await expect(acquireLockFile(path, 'me')).rejects.toThrow(
      new RegExp(`^locked by autodj import \\(pid ${process.pid}\\) since`),
    )
  })

  test('of a live process is never taken; once that is killed, it is', async () => {
    const child = startChild('lock-child.ts', path)
    try {
      expect(await child.line()).toBe('held')
      await expect(acquireLockFile(path, 'me')).rejects.toThrow(
        `locked by child (pid ${child.process.pid}) since`,
      )
    } finally {
      await child.kill()
    }
    const lock = await acquireLockFile(path, 'me')
    expect(JSON.parse(await readFile(path, 'utf8'))).toEqual(lock.holder)
    expect(await readdir(folder)).toEqual(['db.lock'])
  })

  test('of a dead holder is taken by exactly one of many', async () => {
    await write(path, { pid: await deadPid(), startedAt: null })
    const children = Array.from({ length: 5 }, () => startChild('lock-child.ts', path))
    try {
      const said = await Promise.all(children.map(child => child.line()))
      expect(said.toSorted()).toEqual(['held', 'refused', 'refused', 'refused', 'refused'])
      const winner = children[said.indexOf('held')]!
      expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ pid: winner.process.pid })
      expect(await readdir(folder)).toEqual(['db.lock'])
    } finally {
      await Promise.all(children.map(child => child.kill()))
    }
  })

  test('of a holder that died while it took the lock over is taken too', async () => {
    const pid = await deadPid()
    await write(path, { pid, startedAt: null, token: 'one' })
    await write(`${path}.one`, { pid, startedAt: null, token: 'two' })
    await acquireLockFile(path, 'me')
    expect(await readdir(folder)).toEqual(['db.lock'])
  })

  test.runIf(process.platform === 'linux')('of a process whose pid another has now is taken', async () => {
    await write(path, { startedAt: 'some-other-boot/1' })
    await acquireLockFile(path, 'me')
  })

  describe('across containers: pids of one mean nothing in the other, and both may have one host name', () => {
    const container = ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child']
    const canContain = spawnSync(container[0]!, [...container.slice(1), 'true']).status === 0
    const hasFlock = spawnSync('flock', ['--version']).status === 0

    test.runIf(canContain)('one is held from outside, and its host is not robbed from inside', async () => {
      await acquireLockFile(path, 'me')
      const inside = startVia(container, 'lock-child.ts', path)
      try {
        expect(await inside.line()).toBe('refused')
      } finally {
        await inside.kill()
      }
    })

    test.runIf(canContain)(
      'one is held from inside: refused outside; once that is killed, taken',
      async () => {
        const inside = startVia(container, 'lock-child.ts', path)
        try {
          expect(await inside.line()).toBe('held')
          const refused = acquireLockFile(path, 'me')
          await expect(refused).rejects.toThrow(/locked by child \(pid \d+ in another container\) since/)
          await expect(refused).rejects.toMatchObject({ cure: expect.stringContaining(`delete ${path}`) })
          // Nor does another container.
          const second = startVia(container, 'lock-child.ts', path)
          expect(await second.line()).toBe('refused')
          await second.kill()
        } finally {
          await inside.kill()
        }
        // The one inside is killed by the kernel once its parent is gone, which may take a moment.
        if (hasFlock) await vi.waitFor(() => acquireLockFile(path, 'me'), 20_000)
        else await expect(acquireLockFile(path, 'me')).rejects.toThrow('locked')
      },
    )

    test.runIf(hasFlock)('one whose holder is dead is taken, whatever its host was called', async () => {
      await write(path, { kernelLock: true, host: 'gone', pid: 1, pidNamespace: 'pid:[1]' })
      const lock = await acquireLockFile(path, 'me')
      expect(JSON.parse(await readFile(path, 'utf8'))).toEqual(lock.holder)
    })

    test('without the kernel to ask, a pid of another container is not asked for', async () => {
      await write(path, { pid: await deadPid(), startedAt: null, pidNamespace: 'pid:[1]', kernelLock: false })
      await expect(acquireLockFile(path, 'me')).rejects.toThrow('in another container')
    })

    test('a machine without `flock` goes by the pid, as long as that means something', async () => {
      const path0 = process.env['PATH']
      process.env['PATH'] = '/nowhere'
      try {
        const lock = await acquireLockFile(path, 'me')
        expect(lock.holder.kernelLock).toBe(false)
        await expect(acquireLockFile(path, 'me')).rejects.toThrow('locked by me')
        await lock.release()
        await write(path, { pid: await deadPid(), startedAt: null, kernelLock: true })
        await (await acquireLockFile(path, 'me')).release()
      } finally {
        process.env['PATH'] = path0
      }
    })
  })

  test('a lock that is dropped without a word stays held as long as the process lives', async () => {
    await acquireLockFile(path, 'me')
    globalThis.gc?.()
    await expect(acquireLockFile(path, 'me')).rejects.toThrow('locked by me')
  })

  test.each<[string, (file: string) => unknown]>([
    ['a FIFO', (file: string) => spawnSync('mkfifo', [file])],
    ['a link', (file: string) => symlinkSync(import.meta.filename, file)],
    ['a folder', (file: string) => mkdirSync(file)],
    [
      'a socket',
      (file: string) =>
        spawnSync(process.execPath, [
          '-e',
          `require('net').createServer().listen(${JSON.stringify(file)}, () => process.exit())`,
        ]),
    ],
    ['far too long', (file: string) => writeFileSync(file, ' '.repeat(1e6))],
    // It becomes part of a file's name.
    ...['../../x', 'x/../../y', 'x y', '', 'x'.repeat(65)].map(
      (token): [string, (file: string) => unknown] => [
        `with the token ${JSON.stringify(token)}`,
        file => writeFileSync(file, JSON.stringify(holder({ token }))),
      ],
    ),
    ['with a pid that is none', (file: string) => writeFileSync(file, JSON.stringify(holder({ pid: 1.5 })))],
  ])('a file that is %s is refused at once', async (_, make) => {
    make(path)
    await expect(acquireLockFile(path, 'me')).rejects.toMatchObject({ code: 'locked.unreadable' })
    expect(await readdir(folder)).toEqual(['db.lock'])
  })

  test('of another machine is left alone', async () => {
    await write(path, { host: 'elsewhere', pid: 1 })
    const refused = acquireLockFile(path, 'me')
    await expect(refused).rejects.toThrow('locked by autodj import (pid 1 on elsewhere) since 2024-01-02')
    await expect(refused).rejects.toMatchObject({ cure: expect.stringContaining(`delete ${path}`) })
  })

  test('that is none is left alone', async () => {
    await writeFile(path, 'something else')
    await expect(acquireLockFile(path, 'me')).rejects.toThrow('is not readable as one')
    expect(await readFile(path, 'utf8')).toBe('something else')
  })

  test('goes by the pid where there is no kernel lock to ask, as far as a pid says anything', async () => {
    const space = (() => {
      try {
        return readlinkSync('/proc/self/ns/pid')
      } catch {
        return null
      }
    })()
    const dead = await deadPid()
    const { startedAt: own } = await acquireLockFile(path, 'me').then(async lock => {
      await lock.release()
      return lock.holder
    })
    const robbed = async (change: Partial<LockHolder>) => {
      await write(path, change)
      try {
        await (await acquireLockFile(path, 'me')).release()
        return true
      } catch (error) {
        expect(error).toBeInstanceOf(LockedError)
        return false
      }
    }
    const cases: [Partial<LockHolder>, boolean][] = [
      [{ pid: dead }, true],
      [{ pid: dead, token: 'aB_9-'.padEnd(64, 'x') }, true],
      [{ pid: dead, startedAt: null }, true],
      [{ pid: dead, pidNamespace: space }, true],
      [{ pid: dead, pidNamespace: 'pid:[1]' }, false],
      [{ pid: dead, host: 'elsewhere' }, false],
      [{ pid: dead, host: 'elsewhere', pidNamespace: space }, false],
      // Its pid has a process: that of the holder, a later one, or nobody can say.
      [{ startedAt: own }, false],
      [{ startedAt: null }, false],
      [{ startedAt: 'some-other-boot/1', pidNamespace: space }, true],
      [{ startedAt: own, pidNamespace: space }, false],
    ]
    for (const [change, expected] of cases)
      expect([change, await robbed({ startedAt: own, ...change })]).toEqual([change, expected])
  })

  test('is had on a file system without hard links, too, and once', async () => {
    for (const code of ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']) {
      const end = observeFileEffects(({ kind }) => {
        if (kind === 'link') throw Object.assign(new Error('no links here'), { code })
      })
      try {
        const lock = await acquireLockFile(path, 'me')
        expect(JSON.parse(await readFile(path, 'utf8'))).toEqual(lock.holder)
        await expect(acquireLockFile(path, 'another')).rejects.toThrow('locked by me')
        await lock.release()
        await write(path, { pid: await deadPid(), startedAt: null })
        await (await acquireLockFile(path, 'me')).release()
        expect(await readdir(folder)).toEqual([])
      } finally {
        end()
      }
    }
  })

  test.each([
    ['EACCES', ExitCode.fatal, /Choose a folder/],
    ['ENOSPC', ExitCode.temporary, /Free some space/],
    ['EDQUOT', ExitCode.temporary, /Free some space/],
  ])('that cannot be made for %s says so, and leaves nothing', async (code, exitCode, cure) => {
    for (const failing of ['link', 'sync']) {
      const end = observeFileEffects(({ kind }) => {
        if (kind === failing) throw Object.assign(new Error('refused'), { code })
      })
      const refused = { code: 'db.lock-file', exitCode, cure: expect.stringMatching(cure), details: { path } }
      await expect(acquireLockFile(path, 'me').finally(end)).rejects.toMatchObject(refused)
      expect(await readdir(folder)).toEqual([])
    }
    await (await acquireLockFile(path, 'me')).release()
  })

  test('whose guard somebody holds is waited for: it is being taken over', async () => {
    await write(path, { pid: await deadPid(), startedAt: null, token: 'one' })
    const guard = await acquireLockFile(`${path}.one`, 'another')
    let asked = 0
    const end = observeFileEffects(async ({ kind, to }) => {
      if (kind === 'link' && to === `${path}.one` && ++asked === 3) await guard.release()
    })
    const lock = await acquireLockFile(path, 'me').finally(end)
    expect(JSON.parse(await readFile(path, 'utf8'))).toEqual(lock.holder)
    expect(await readdir(folder)).toEqual(['db.lock'])
  })

  test('that another took over, or gave up, while its guard was waited for is not taken over again', async () => {
    for (const by of ['another', undefined]) {
      await write(path, { pid: await deadPid(), startedAt: null, token: 'one' })
      const end = observeFileEffects(async ({ kind, to }) => {
        if (kind !== 'link' || to !== `${path}.one`) return
        if (by === undefined) await rm(path)
        else await write(path, { token: 'two', startedAt: null, command: by })
      })
      const taking = acquireLockFile(path, 'me').finally(end)
      if (by === undefined) await (await taking).release()
      else await expect(taking).rejects.toThrow('locked by another')
      expect(await readdir(folder)).toEqual(by === undefined ? [] : ['db.lock'])
    }
  })

  test('is taken from some dead guards, and not from any number of them', async () => {
    const pid = await deadPid()
    for (const [count, isTaken] of [
      [5, true],
      [6, false],
    ] as const) {
      let name = path
      for (let depth = 0; depth < count; depth++) {
        await write(name, { pid, startedAt: null, token: 't' })
        name += '.t'
      }
      const taking = acquireLockFile(path, 'me')
      if (isTaken) await (await taking).release()
      else await expect(taking).rejects.toThrow(LockedError)
    }
  })

  test('that is another’s by now is left to it by whoever gives it up', async () => {
    const lock = await acquireLockFile(path, 'me')
    await write(path, { host: 'elsewhere' })
    await lock.release()
    await lock.release()
    expect(await readdir(folder)).toEqual(['db.lock'])
  })

  test('is as long as a lock may be, and no longer', async () => {
    const text = JSON.stringify(holder({ pid: await deadPid(), startedAt: null }))
    await writeFile(path, text.padEnd(16_385))
    await expect(acquireLockFile(path, 'me')).rejects.toMatchObject({ code: 'locked.unreadable' })
    await writeFile(path, text.padEnd(16_384))
    await (await acquireLockFile(path, 'me')).release()
  })
})

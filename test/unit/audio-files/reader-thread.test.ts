/** How a file that is whole gets its name, on file systems of different kinds, and while others are at it. */
import {
  closeSync,
  existsSync,
  fstatSync,
  linkSync,
  lstatSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { move } from '../../../src/audio-files/reader-thread.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

type Disk = NonNullable<Parameters<typeof move>[1]>
type Found = ReturnType<Disk['lstat']>

let dir: string
let descriptor: number
const from = () => path.join(dir, 'draft')
const to = () => path.join(dir, 'a.mp3')
const ask = () => ({ from: from(), to: to(), descriptor })

const disk: Disk = {
  fstat: fd => fstatSync(fd, { bigint: true }),
  lstat: name => lstatSync(name, { bigint: true, throwIfNoEntry: false }),
  link: linkSync,
  unlink: unlinkSync,
}

beforeEach(() => {
  dir = temporaryFolder('move')
  writeFileSync(from(), 'whole')
  descriptor = openSync(from(), 'r+')
})
afterEach(() => closeSync(descriptor))

/** As another process does it, once the link is made. */
const afterLink = (act: () => void): Disk => ({
  ...disk,
  link(one, other) {
    linkSync(one, other)
    act()
  },
})

describe('move', () => {
  test('the file has its name, and its old one no more', () => {
    expect(move(ask())).toEqual({ end: 'moved' })
    expect([existsSync(from()), readFileSync(to(), 'utf8')]).toEqual([false, 'whole'])
  })

  test('nothing is overwritten', () => {
    writeFileSync(to(), 'other')
    expect(move(ask())).toEqual({ end: 'taken' })
    expect([readFileSync(from(), 'utf8'), readFileSync(to(), 'utf8')]).toEqual(['whole', 'other'])
  })

  test('where every name has a number of its own, the content is to tell, and both names stay', () => {
    const numbered: Disk = {
      ...disk,
      lstat(name) {
        const found = disk.lstat(name)
        return found && (Object.assign(found, name === to() ? { ino: found.ino + 1n } : {}) as Found)
      },
    }
    expect(move(ask(), numbered)).toEqual({ end: 'unsure' })
    expect([readFileSync(from(), 'utf8'), readFileSync(to(), 'utf8')]).toEqual(['whole', 'whole'])
  })

  test('what another process gives that name meanwhile is never removed', () => {
    const replaced = afterLink(() => {
      writeFileSync(path.join(dir, 'new'), 'other')
      renameSync(path.join(dir, 'new'), to())
    })
    expect(move(ask(), replaced)).toEqual({ end: 'unsure' })
    expect([readFileSync(from(), 'utf8'), readFileSync(to(), 'utf8')]).toEqual(['whole', 'other'])
  })

  test('what another process has put in the place of the draft keeps its own name only', () => {
    rmSync(from())
    writeFileSync(from(), 'half')
    expect(move(ask())).toEqual({ end: 'another' })
    expect([readFileSync(from(), 'utf8'), existsSync(to())]).toEqual(['half', false])
  })
})

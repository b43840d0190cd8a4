/** Files as rows name them: what is opened, what is refused, and what tells one state of a file from another. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  blockingDisk,
  type FileIdentity,
  findSource,
  isFileThere,
  isSameFile,
  openRoot,
  openSource,
  relativePath,
} from '../../../src/audio-files/source.ts'
import type { AudioFolder } from '../../../src/core/audio-path.ts'

const top = realpathSync(mkdtempSync(path.join(tmpdir(), 'autodj-source-')))
const root = path.join(top, 'audio')
const folder: AudioFolder = { root, storagePath: './audio', applicationDir: top }
beforeAll(() => {
  for (const one of ['A', 'beside', 'Beyonce\u0301']) mkdirSync(path.join(root, one), { recursive: true })
  for (const one of ['A/b.mp3', 'A/c.mp3', 'Beyonce\u0301/d.mp3'])
    writeFileSync(path.join(root, one), 'audio')
  writeFileSync(path.join(top, 'out.mp3'), 'audio')
  writeFileSync(path.join(root, 'empty.mp3'), '')
  const links = {
    'link.mp3': 'A/b.mp3',
    L: 'A',
    'out.mp3': '../out.mp3',
    'loop.mp3': 'loop.mp3',
    'dangling.mp3': 'nothing',
  }
  for (const [name, to] of Object.entries(links)) symlinkSync(to, path.join(root, name))
  symlinkSync('audio', path.join(top, 'other name'))
  execFileSync('mkfifo', [path.join(root, 'pipe.mp3')])
})
afterAll(() => rmSync(top, { recursive: true }))

describe.each([
  ['calls that do not block', undefined],
  ['calls that block', blockingDisk],
])('%s', (_, disk) => {
  test.each<[string, { relative: string; isLinked: boolean } | { problem: string }]>([
    ['A/b.mp3', { relative: 'A/b.mp3', isLinked: false }],
    ['./audio/A/b.mp3', { relative: 'A/b.mp3', isLinked: false }],
    ['audio\\A\\b.mp3', { relative: 'A/b.mp3', isLinked: false }],
    ['link.mp3', { relative: 'A/b.mp3', isLinked: true }],
    ['L/c.mp3', { relative: 'A/c.mp3', isLinked: true }],
    // The name in its other form is no other name.
    ['Beyonc\u00e9/d.mp3', { relative: 'Beyonce\u0301/d.mp3', isLinked: false }],
    [`${top}/other name/A/b.mp3`, { relative: 'A/b.mp3', isLinked: true }],
    [`${root}/A/b.mp3`, { relative: 'A/b.mp3', isLinked: false }],
    ['out.mp3', { problem: 'refused' }],
    [`${top}/out.mp3`, { problem: 'refused' }],
    ['../out.mp3', { problem: 'refused' }],
    ['loop.mp3', { problem: 'loop' }],
    ['dangling.mp3', { problem: 'missing' }],
    ['A/x.mp3', { problem: 'missing' }],
    ['A', { problem: 'not-a-file' }],
    ['pipe.mp3', { problem: 'not-a-file' }],
    ['empty.mp3', { problem: 'empty' }],
    ['A/b.mp3/x', { problem: 'missing' }],
  ])('%j', async (filePath, expected) => {
    const opening = openSource(filePath, folder, await openRoot(root), disk)
    if ('problem' in expected) return expect(opening).rejects.toMatchObject(expected)
    const source = await opening
    expect(source).toMatchObject({ ...expected, absolute: path.join(root, expected.relative), size: 5 })
    const read = Buffer.alloc(3)
    await source.read(read, 1)
    expect(read.toString()).toBe('udi')
    await expect(source.read(Buffer.alloc(3), 3)).rejects.toMatchObject({ problem: 'changed' })
    await source.close()
  })
})

test.each<[string, string | undefined]>([
  ['A/b.mp3', 'A/b.mp3'],
  ['./audio/A/b.mp3', 'A/b.mp3'],
  ['audio\\A\\b.mp3', 'A/b.mp3'],
  // Of several readings that which leads to something.
  ['audio/beside/x.mp3', 'beside/x.mp3'],
  [`${top}/other name/A/b.mp3`, 'A/b.mp3'],
  [`${top}/out.mp3`, undefined],
  ['../out.mp3', undefined],
  ['', undefined],
])('the path of %j below the root is %j', async (filePath, expected) => {
  expect(await relativePath(filePath, folder)).toBe(expected)
})

test.each<[string, boolean | undefined]>([
  ['A/b.mp3', true],
  ['link.mp3', true],
  ['A/x.mp3', false],
  ['empty.mp3', false],
  ['pipe.mp3', false],
  ['loop.mp3', false],
  // Nobody can tell.
  ['out.mp3', undefined],
  ['../out.mp3', undefined],
])('whether %j is there: %j', async (filePath, expected) => {
  expect(await isFileThere(filePath, folder)).toBe(expected)
})

test('without the folder nothing is said to be gone', async () => {
  expect(await isFileThere('A/b.mp3', { ...folder, root: path.join(top, 'not mounted') })).toBeUndefined()
})

test('a row that reaches its file through a link of the root', async () => {
  const found = await findSource(`${top}/other name/A/b.mp3`, folder, root)
  expect(found).toMatchObject({ real: path.join(root, 'A/b.mp3'), isLinked: true })
})

test('a file is the same while all that tells is', () => {
  const one: FileIdentity = { size: 1, mtimeNs: 2n, ctimeNs: 3n, inode: 4n, device: 5n }
  expect(isSameFile(one, { ...one })).toBe(true)
  const others: Partial<FileIdentity>[] = [
    { size: 9 },
    { mtimeNs: 9n },
    { ctimeNs: 9n },
    { inode: 9n },
    { device: 9n },
  ]
  for (const other of others) {
    expect(isSameFile(one, { ...one, ...other })).toBe(false)
    expect(isSameFile({ ...one, ...other }, one)).toBe(false)
  }
})

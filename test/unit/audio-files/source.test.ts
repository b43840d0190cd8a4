/** Files as rows name them: what is opened, what is refused, and what tells one state of a file from another. */
import { execFileSync, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { constants, fstatSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { isFileThere } from '../../../src/audio-files/mounted.ts'
import {
  blockingDisk,
  type FileIdentity,
  findSource,
  folderExists,
  isSameFile,
  localFileError,
  openRoot,
  openSource,
  relativePath,
  requireAudioRoot,
} from '../../../src/audio-files/source.ts'
import { type AudioFolder, plainFolder } from '../../../src/core/audio-path.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const top = realpathSync(temporaryFolder('source'))
const root = path.join(top, 'audio')
const folder: AudioFolder = { root, storagePath: './audio', applicationDir: top }
beforeAll(() => {
  for (const one of ['A', 'audio', 'beside', 'Beyonce\u0301'])
    mkdirSync(path.join(root, one), { recursive: true })
  for (const one of [
    'A/b.mp3',
    'A/c.mp3',
    'Beyonce\u0301/d.mp3',
    'A/a\u037e.mp3',
    'Straße.mp3',
    'audio/second.mp3',
  ])
    writeFileSync(path.join(root, one), 'audio')
  writeFileSync(path.join(top, 'out.mp3'), 'audio')
  writeFileSync(path.join(root, 'empty.mp3'), '')
  const links = {
    'link.mp3': 'A/b.mp3',
    L: 'A',
    'out.mp3': '../out.mp3',
    'leads out.mp3': '../out.mp3',
    'Strasse.mp3': 'Straße.mp3',
    'loop.mp3': 'loop.mp3',
    'dangling.mp3': 'nothing',
  }
  for (const [name, to] of Object.entries(links)) symlinkSync(to, path.join(root, name))
  symlinkSync('audio', path.join(top, 'other name'))
  execFileSync('mkfifo', [path.join(root, 'pipe.mp3')])
})

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
    // One of three characters of ASCII that others are made into.
    ['A/a;.mp3', { relative: 'A/a\u037e.mp3', isLinked: false }],
    // A link whose name is another one, though some file systems take these letters for the same.
    ['Strasse.mp3', { relative: 'Straße.mp3', isLinked: true }],
    ['TOP/other name/A/b.mp3', { relative: 'A/b.mp3', isLinked: true }],
    ['TOP/audio/A/b.mp3', { relative: 'A/b.mp3', isLinked: false }],
    ['', { problem: 'refused' }],
    ['TOP/other name', { problem: 'refused' }],
    ['leads out.mp3', { problem: 'refused' }],
    ['out.mp3', { problem: 'refused' }],
    ['TOP/out.mp3', { problem: 'refused' }],
    ['../out.mp3', { problem: 'refused' }],
    ['loop.mp3', { problem: 'loop' }],
    ['dangling.mp3', { problem: 'missing' }],
    ['A/x.mp3', { problem: 'missing' }],
    ['gone/é.mp3', { problem: 'missing' }],
    ['A/é.mp3', { problem: 'missing' }],
    ['A', { problem: 'not-a-file' }],
    ['pipe.mp3', { problem: 'not-a-file' }],
    ['empty.mp3', { problem: 'empty' }],
    ['A/b.mp3/x', { problem: 'missing' }],
  ])('%j', async (named, expected) => {
    const filePath = named.replace('TOP', top)
    const opening = openSource(filePath, folder, await openRoot(root), disk)
    if ('problem' in expected) return expect(opening).rejects.toMatchObject(expected)
    const source = await opening
    expect(source).toMatchObject({ ...expected, absolute: path.join(root, expected.relative), size: 5 })
    const read = Buffer.alloc(3)
    await source.read(read, 1)
    expect(read.toString()).toBe('udi')
    await expect(source.read(Buffer.alloc(3), 3)).rejects.toMatchObject({ problem: 'changed' })
    const { descriptor } = source
    expect(fstatSync(descriptor).isFile()).toBe(true)
    await source.close()
    expect(() => fstatSync(descriptor)).toThrow('EBADF')
  })
})

test.each<[string, string | undefined]>([
  ['A/b.mp3', 'A/b.mp3'],
  ['./audio/A/b.mp3', 'A/b.mp3'],
  ['audio\\A\\b.mp3', 'A/b.mp3'],
  // Of several readings that which leads to something.
  ['audio/beside/x.mp3', 'beside/x.mp3'],
  ['TOP/other name/A/b.mp3', 'A/b.mp3'],
  ['audio/beside/gone.mp3', 'beside/gone.mp3'],
  ['audio/second.mp3', 'audio/second.mp3'],
  // What one reading leads to is not looked at; what of several leads out of it is no path below it.
  ['TOP/audio/leads out.mp3', 'leads out.mp3'],
  ['audio/leads out.mp3', undefined],
  ['TOP/out.mp3', undefined],
  ['../out.mp3', undefined],
  ['', undefined],
])('the path of %j below the root is %j', async (named, expected) => {
  expect(await relativePath(named.replace('TOP', top), folder)).toBe(expected)
})

/** Not asked where other audio is about. */
const noDatabase = {} as Parameters<typeof isFileThere>[0]

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
  expect(await isFileThere(noDatabase, filePath, folder)).toBe(expected)
})

test('without the folder nothing is said to be gone', async () => {
  expect(
    await isFileThere(noDatabase, 'A/b.mp3', { ...folder, root: path.join(top, 'not mounted') }),
  ).toBeUndefined()
})

test('a row that reaches its file through a link of the root, and one that passes by it', async () => {
  const [linked, real] = [`${top}/other name/A/b.mp3`, path.join(root, 'A/b.mp3')]
  expect(await findSource(linked, folder, root)).toMatchObject({ real, isLinked: true })
  const byLink = plainFolder(path.join(top, 'other name'))
  expect(await findSource(real, byLink, root)).toMatchObject({ real, isLinked: false })
})

test('a name in other letter case is the same where the file system knows it by both', async () => {
  const disk = {
    ...blockingDisk,
    realpath: (file: string) => blockingDisk.realpath(file.replace('B.MP3', 'b.mp3')),
  }
  expect(await findSource('A/B.MP3', folder, root, disk)).toMatchObject({ isLinked: false })
})

test('a folder that may not be listed is passed where its name is plain', async () => {
  const disk = {
    ...blockingDisk,
    readdir(of: string) {
      if (of === root) throw refusing('EACCES')
      return blockingDisk.readdir(of)
    },
  }
  mkdirSync(path.join(root, 'Plain'), { recursive: true })
  writeFileSync(path.join(root, 'Plain/e\u0301.mp3'), 'audio')
  expect((await findSource('Plain/\u00e9.mp3', folder, root, disk)).real).toBe(
    path.join(root, 'Plain/e\u0301.mp3'),
  )
})

test('a folder that is not there is one error, which names it', async () => {
  const gone = path.join(top, 'not mounted')
  const message = `audio folder ${gone} does not exist`
  await expect(openRoot(gone)).rejects.toMatchObject({ problem: 'missing', message })
  await expect(requireAudioRoot(gone)).rejects.toMatchObject({ code: 'config.audio-root', message })
  expect([await folderExists(gone), await folderExists(root)]).toEqual([false, true])
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

const refusing = (code: string) => Object.assign(new Error(`${code}: refused`), { code })

test.each<[string, string, RegExp, RegExp]>([
  ['ENOENT', 'missing', /^a\.mp3 does not exist$/, /./],
  ['ENOTDIR', 'missing', /^a\.mp3 does not exist$/, /./],
  ['ELOOP', 'loop', /^a\.mp3 is a link that points back to itself$/, /./],
  ['ENXIO', 'not-a-file', /^a\.mp3 is not a file$/, /./],
  ['EISDIR', 'not-a-file', /^a\.mp3 is not a file$/, /./],
  ['EACCES', 'unreadable', /^no permission to read a\.mp3$/, /./],
  ['EPERM', 'unreadable', /^no permission to read a\.mp3$/, /./],
  ['ENAMETOOLONG', 'refused', /^a\.mp3… is too long a path$/, /^Correct the row/],
  ['EIO', 'unreadable', /^a\.mp3 cannot be read: EIO$/, /check the disk/],
])('%s of a file is %s', (code, problem, message, cure) => {
  const told = localFileError(refusing(code), 'a.mp3')
  expect(told.problem).toBe(problem)
  expect(told.message).toMatch(message)
  expect(told.cure).toMatch(cure)
})

test.each(['EMFILE', 'ENFILE'])(
  "%s is no file's problem, and says nothing of whether it is there",
  async code => {
    expect(() => localFileError(refusing(code), 'a.mp3')).toThrow(`too many files are open (${code})`)
    const disk = {
      ...blockingDisk,
      open: () => {
        throw refusing(code)
      },
    }
    await expect(openSource('A/b.mp3', folder, root, disk)).rejects.toMatchObject({
      code: 'system.files',
      exitCode: 5,
    })
  },
)

test('a file is opened once another is closed, if too many are open', async () => {
  const file = path.join(temporaryFolder('many'), 'a')
  writeFileSync(file, 'a')
  const source = new URL('../../../src/audio-files/source.ts', import.meta.url).href
  const openFiles = new URL('../../../src/open-files.ts', import.meta.url).href
  const script = `
    import { openSync, closeSync } from 'node:fs'
    import { blockingDisk } from ${JSON.stringify(source)}
    import { open } from 'node:fs/promises'
    import { openInTurn } from ${JSON.stringify(openFiles)}
    const held = []
    try { for (;;) held.push(openSync(${JSON.stringify(file)})) } catch {}
    setTimeout(() => closeSync(held.pop()), 100)
    const handle = await openInTurn(() => open(${JSON.stringify(file)}))
    await handle.close()
    const opened = await blockingDisk.open(${JSON.stringify(file)}, 0)
    opened.close()
    console.log('opened')`
  const { stdout } = spawnSync(
    'sh',
    ['-c', 'ulimit -n 128; exec "$0" --input-type=module -e "$1"', process.execPath, script],
    { encoding: 'utf8' },
  )
  expect(stdout).toBe('opened\n')
})

test('what has no code is told in its own words, and a long path is cut', () => {
  expect(localFileError(new Error('odd'), 'a.mp3').message).toBe('a.mp3 cannot be read: odd')
  expect(localFileError(refusing('ENAMETOOLONG'), 'x'.repeat(300)).message).toBe(
    `${'x'.repeat(80)}… is too long a path`,
  )
})

test('only the owner may read without leaving a trace: another user opens as everyone does', async () => {
  const flagsTried: number[] = []
  const refuse = (code: string) => ({
    ...blockingDisk,
    open(file: string, flags: number) {
      flagsTried.push(flags)
      if (flags & (constants.O_NOATIME ?? 0)) throw refusing(code)
      return blockingDisk.open(file, flags)
    },
  })
  if (constants.O_NOATIME === undefined) return
  const source = await openSource('A/b.mp3', folder, root, refuse('EPERM'))
  await source.close()
  const [first, second] = flagsTried
  expect([flagsTried.length, first]).toEqual([2, (second ?? 0) | constants.O_NOATIME])
  flagsTried.length = 0
  await expect(openSource('A/b.mp3', folder, root, refuse('EACCES'))).rejects.toMatchObject({
    problem: 'unreadable',
    message: 'no permission to read A/b.mp3',
  })
  expect(flagsTried.length).toBe(1)
})

test('a disk that fails while a file is read is told', async () => {
  const disk = {
    ...blockingDisk,
    async open(file: string, flags: number) {
      const opened = await blockingDisk.open(file, flags)
      return {
        ...opened,
        read: () => {
          throw refusing('EIO')
        },
      }
    },
  }
  const source = await openSource('A/b.mp3', folder, root, disk)
  await expect(source.read(Buffer.alloc(3), 0)).rejects.toMatchObject({
    problem: 'unreadable',
    message: 'A/b.mp3 cannot be read: EIO',
  })
  await source.close()
})

test('a file that cannot be looked at once it is open is that problem, and is closed', async () => {
  const closed: number[] = []
  const failing = (stat: () => never) => ({
    ...blockingDisk,
    async open(file: string, flags: number) {
      const opened = await blockingDisk.open(file, flags)
      return {
        ...opened,
        stat,
        close() {
          closed.push(opened.fd)
          return opened.close()
        },
      }
    },
  })
  const eio = failing(() => {
    throw refusing('EIO')
  })
  await expect(openSource('A/b.mp3', folder, root, eio)).rejects.toMatchObject({
    problem: 'unreadable',
    message: 'A/b.mp3 cannot be read: EIO',
  })
  expect(closed.length).toBe(1)
})

test('a name in another Unicode form that goes meanwhile is that problem', async () => {
  const gone = {
    ...blockingDisk,
    realpath(file: string) {
      if (!file.includes('d.mp3')) return blockingDisk.realpath(file)
      throw refusing(file.includes('Beyonce\u0301') ? 'EIO' : 'ENOENT')
    },
  }
  await expect(findSource('Beyonc\u00e9/d.mp3', folder, root, gone)).rejects.toMatchObject({
    problem: 'unreadable',
    message: 'Beyonc\u00e9/d.mp3 cannot be read: EIO',
  })
})

test('what is no file is called what it is', async () => {
  const server = createServer().listen(path.join(root, 'socket.mp3'))
  await once(server, 'listening')
  try {
    for (const [name, what] of [
      ['A', 'a directory'],
      ['pipe.mp3', 'a named pipe'],
    ])
      await expect(openSource(name as string, folder, root)).rejects.toMatchObject({
        problem: 'not-a-file',
        message: `${name} is ${what}, not a file`,
      })
    await expect(openSource('socket.mp3', folder, root)).rejects.toMatchObject({
      problem: 'not-a-file',
      message: 'socket.mp3 is not a file',
    })
    const device = {
      ...blockingDisk,
      open: (_: string, flags: number) => blockingDisk.open('/dev/null', flags),
    }
    await expect(openSource('A/b.mp3', folder, root, device)).rejects.toMatchObject({
      message: 'A/b.mp3 is a device, not a file',
    })
  } finally {
    server.close()
  }
})

test('a reading that leads to something that cannot be opened is not passed over for another one', async () => {
  writeFileSync(path.join(root, 'audio/loop.mp3'), 'audio')
  await expect(findSource('audio/loop.mp3', folder, root)).rejects.toMatchObject({ problem: 'loop' })
  writeFileSync(path.join(root, 'audio/only.mp3'), 'audio')
  expect((await findSource('audio/only.mp3', folder, root)).reading.relative).toBe('audio/only.mp3')
})

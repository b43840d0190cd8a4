import { execFileSync } from 'node:child_process'
import { chmod, mkdir, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { selectionOf, walkAudioFolder } from '../../../src/audio-files/walk.ts'
import { FatalError, UsageError } from '../../../src/errors.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const isRoot = process.getuid?.() === 0
let base: string
let root: string

beforeEach(async () => {
  base = await realpath(temporaryFolder('walk'))
  root = join(base, 'audio')
  await mkdir(root)
})

async function put(path: string, content = path): Promise<void> {
  await mkdir(join(root, path, '..'), { recursive: true })
  await writeFile(join(root, path), content)
}
async function walk(start = root): Promise<Record<string, string>> {
  const seen: Record<string, string> = {}
  for await (const entry of walkAudioFolder(root, start)) {
    expect(seen[entry.path], `${entry.path} twice`).toBeUndefined()
    seen[entry.path] = entry.kind === 'obstacle' ? `${entry.outcome} ${entry.code}` : entry.kind
  }
  return seen
}

describe('walkAudioFolder', () => {
  test('files of all folders, with what stat says, in the order of their names', async () => {
    for (const path of ['b/2.mp3', 'a/x/1.mp3', 'b/1.mp3', 'z.mp3']) await put(path)
    const entries = await Array.fromAsync(walkAudioFolder(root, root))
    expect(entries.map(entry => entry.path)).toEqual(['a/x/1.mp3', 'b/1.mp3', 'b/2.mp3', 'z.mp3'])
    expect(entries[0]).toMatchObject({ kind: 'file', size: 9 })
  })

  test('names stay as the disk has them', async () => {
    const names = [
      'Zoë'.normalize('NFD'),
      'Zoé'.normalize('NFC'),
      '雨',
      '100% #1 +?',
      'a\nb',
      '🦦',
      'back\\slash',
    ]
    for (const name of names) await put(`${name}/x.mp3`)
    expect(Object.keys(await walk()).toSorted()).toEqual(names.map(name => `${name}/x.mp3`).toSorted())
  })

  test('hidden files and folders, AppleDouble among them, are passed over', async () => {
    for (const path of ['.hidden.mp3', '._track.mp3', '.git/x.mp3', 'a/.DS_Store', 'a/x.mp3']) await put(path)
    expect(await walk()).toEqual({
      '.git': 'hidden',
      '.hidden.mp3': 'hidden',
      '._track.mp3': 'hidden',
      'a/.DS_Store': 'hidden',
      'a/x.mp3': 'file',
    })
  })

  test('links: no loop is entered, nothing outside is touched, targets inside are met once', async () => {
    await put('a/x.mp3')
    await writeFile(join(base, 'outside.mp3'), 'secret')
    await mkdir(join(base, 'elsewhere'))
    await symlink(root, join(root, 'a/loop'))
    await symlink('..', join(root, 'a/up'))
    await symlink('self', join(root, 'self'))
    await symlink('nowhere', join(root, 'broken.mp3'))
    await symlink('a', join(root, 'again'))
    await symlink('a/x.mp3', join(root, 'y.mp3'))
    await symlink(join(base, 'outside.mp3'), join(root, 'out.mp3'))
    await symlink(join(base, 'elsewhere'), join(root, 'out'))
    await symlink('/dev/zero', join(root, 'zero.mp3'))
    expect(await walk()).toEqual({
      'a/loop': 'link',
      'a/up': 'link',
      'a/x.mp3': 'file',
      again: 'link',
      'broken.mp3': 'skipped link.broken',
      out: 'skipped link.outside',
      'out.mp3': 'skipped link.outside',
      self: 'skipped link.broken',
      'y.mp3': 'link',
      'zero.mp3': 'skipped link.outside',
    })
  })

  test('a link to a hidden file, as git-annex makes them, is the file', async () => {
    await put('.git/annex/objects/abc', '12345')
    await mkdir(join(root, 'a'))
    await symlink('../.git/annex/objects/abc', join(root, 'a/x.mp3'))
    expect(await walk()).toEqual({ '.git': 'hidden', 'a/x.mp3': 'file' })
  })

  test('FIFOs, sockets and devices are never opened', async () => {
    execFileSync('mkfifo', [join(root, 'fifo.mp3')])
    const server = createServer().listen(join(root, 'socket.mp3'))
    await new Promise(resolve => server.once('listening', resolve))
    expect(await walk()).toEqual({
      'fifo.mp3': 'skipped file.special',
      'socket.mp3': 'skipped file.special',
    })
    await new Promise(resolve => server.close(resolve))
  })

  test('only the folder that was asked for, with paths from the root', async () => {
    for (const path of ['a/x.mp3', 'a/b/y.mp3', 'c/z.mp3']) await put(path)
    expect(Object.keys(await walk(join(root, 'a')))).toEqual(['a/b/y.mp3', 'a/x.mp3'])
  })

  test('more entries in one folder than are looked at together', async () => {
    await mkdir(join(root, 'many'))
    await Promise.all(Array.from({ length: 4200 }, (_, i) => writeFile(join(root, `many/${i}.mp3`), '')))
    expect(Object.keys(await walk())).toHaveLength(4200)
  })

  // Root reads everything, so there is nothing to show then.
  test.skipIf(isRoot)('a folder that cannot be read is reported, and the rest is walked', async () => {
    await put('a/x.mp3')
    await put('b/y.mp3')
    await chmod(join(root, 'a'), 0)
    expect(await walk()).toEqual({ a: 'failed folder.unreadable', 'b/y.mp3': 'file' })
    await chmod(join(root, 'a'), 0o700)
  })

  test('a name that is not UTF-8 is reported', async () => {
    await put('ok.mp3')
    await writeFile(Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0x5a, 0xeb, 0x2e])]), '')
    expect(await walk()).toEqual({ 'Z\ufffd.': 'failed file.name', 'ok.mp3': 'file' })
  })

  test('a start that is missing, no folder, or outside is refused: it must not look empty', async () => {
    await put('x.mp3')
    await expect(walk(join(root, 'missing'))).rejects.toThrow(UsageError)
    await expect(walk(join(root, 'x.mp3'))).rejects.toThrow(UsageError)
    await expect(walk(base)).rejects.toThrow(/not inside/)
    await symlink(base, join(root, 'out'))
    await expect(walk(join(root, 'out'))).rejects.toThrow(/not inside/)
  })

  test.skipIf(isRoot)('an audio folder that cannot be read is an error of the run', async () => {
    await chmod(root, 0)
    await expect(walk()).rejects.toThrow(FatalError)
    await chmod(root, 0o700)
  })

  test('a signal ends it', async () => {
    await put('x.mp3')
    const controller = new AbortController()
    controller.abort(new Error('enough'))
    await expect(Array.fromAsync(walkAudioFolder(root, root, { signal: controller.signal }))).rejects.toThrow(
      'enough',
    )
  })
})

test('an ignore file that is a pipe, or a folder, is not waited for', async () => {
  const file = join(root, '.autodjignore')
  execFileSync('mkfifo', [file])
  const refused = { code: 'ignore-file.unreadable', message: `${file} is not a file` }
  await expect(selectionOf(root)).rejects.toMatchObject(refused)
  await rm(file)
  await mkdir(file)
  await expect(selectionOf(root)).rejects.toMatchObject(refused)
})

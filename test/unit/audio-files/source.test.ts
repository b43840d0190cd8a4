import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, renameSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { LocalFileError, openSource } from '../../../src/audio-files/source.ts'
import { plainFolder } from '../../../src/core/audio-path.ts'

describe('a file as a source', () => {
  const root = mkdtempSync(path.join(tmpdir(), 'autodj-source-'))
  const outside = mkdtempSync(path.join(tmpdir(), 'autodj-outside-'))
  const nfd = 'Déjà vu.mp3'.normalize('NFD')
  writeFileSync(path.join(root, 'song.mp3'), 'content')
  writeFileSync(path.join(root, 'empty.mp3'), '')
  mkdirSync(path.join(root, 'Motörhead'.normalize('NFD')))
  writeFileSync(path.join(root, 'Motörhead'.normalize('NFD'), nfd), 'content')
  writeFileSync(path.join(outside, 'secret.mp3'), 'secret')
  symlinkSync(path.join(outside, 'secret.mp3'), path.join(root, 'escape.mp3'))
  symlinkSync(outside, path.join(root, 'outside'))
  symlinkSync('song.mp3', path.join(root, 'link.mp3'))
  symlinkSync('circle.mp3', path.join(root, 'circle.mp3'))
  execFileSync('mkfifo', [path.join(root, 'pipe.mp3')])

  test.each([
    ['song.mp3'],
    ['link.mp3'],
    [path.join(root, 'song.mp3')],
    [path.join('Motörhead'.normalize('NFC'), nfd.normalize('NFC'))],
    [path.join('Motörhead'.normalize('NFD'), nfd.normalize('NFC'))],
  ])('%s is found', async filePath => {
    const source = await openSource(filePath, plainFolder(root), root)
    const bytes = Buffer.alloc(source.size)
    await source.read(bytes, 0)
    await source.close()
    expect(bytes.toString()).toBe('content')
  })

  test.each([
    ['gone.mp3', 'missing'],
    ['song.mp3/below', 'missing'],
    ['empty.mp3', 'empty'],
    ['Motörhead'.normalize('NFD'), 'not-a-file'],
    ['pipe.mp3', 'not-a-file'],
    ['circle.mp3', 'loop'],
    ['escape.mp3', 'refused'],
    ['outside/secret.mp3', 'refused'],
    ['../x.mp3', 'refused'],
    ['/etc/passwd', 'refused'],
    ['a\0b', 'refused'],
    ['x'.repeat(5_000), 'refused'],
  ])('%j is %s', async (filePath, problem) => {
    const error = await openSource(filePath, plainFolder(root), root).catch(thrown => thrown)
    expect(error).toBeInstanceOf(LocalFileError)
    expect(error).toMatchObject({ problem, cure: expect.stringMatching(/\w/) })
  })

  test.each([
    ['grew', (file: string) => writeFileSync(file, 'longer than before')],
    ['was touched', (file: string) => utimesSync(file, 1, 1)],
  ])('a file that %s while it was read is found out', async (_how, change) => {
    const file = path.join(root, 'changing.mp3')
    writeFileSync(file, 'content')
    const source = await openSource('changing.mp3', plainFolder(root), root)
    change(file)
    await expect(source.assertUnchanged()).rejects.toMatchObject({ problem: 'changed' })
    await source.close()
  })

  test('a file that was cut short does not end in zeroes, one that was replaced is read as it was', async () => {
    const file = path.join(root, 'cut.mp3')
    writeFileSync(file, 'long content')
    const cut = await openSource('cut.mp3', plainFolder(root), root)
    writeFileSync(file, 'short')
    await expect(cut.read(Buffer.alloc(12), 0)).rejects.toMatchObject({ problem: 'changed' })
    await cut.close()
    const replaced = await openSource('cut.mp3', plainFolder(root), root)
    writeFileSync(path.join(root, 'new.mp3'), 'other')
    renameSync(path.join(root, 'new.mp3'), file)
    const bytes = Buffer.alloc(5)
    await replaced.read(bytes, 0)
    expect(bytes.toString()).toBe('short')
    await replaced.close()
  })
})

import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { parseFile } from 'music-metadata'
import { beforeAll, describe, expect, test } from 'vitest'
import manifest from '../../../assets/demo/manifest.json' with { type: 'json' }
import { copyDemoLibrary } from '../../../src/demo/library.ts'
import { sha256 } from '../../support/sums.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const assets = new URL('../../../assets/demo/', import.meta.url)
let target: string
let copied: { files: number; bytes: number }
let paths: string[]

beforeAll(async () => {
  target = temporaryFolder('demo')
  copied = await copyDemoLibrary(target)
  const entries = await readdir(target, { recursive: true, withFileTypes: true })
  paths = entries.filter(entry => entry.isFile()).map(entry => join(entry.parentPath, entry.name))
})

describe('the bundled demo library', () => {
  test('is at most 3 MB with its licence and holds nothing the manifest does not name', async () => {
    let bytes = 0
    const stored = await readdir(assets)
    for (const name of stored) bytes += (await stat(new URL(name, assets))).size
    expect(bytes).toBeLessThanOrEqual(3_000_000)
    expect(new Set(stored)).toEqual(
      new Set([...manifest.files.map(({ file }) => file), 'manifest.json', 'LICENSE']),
    )
    expect(stored.every(name => /^[\w.-]+$/.test(name))).toBe(true)
  })

  test('copies every file of the manifest and counts them', async () => {
    expect(copied.files).toBe(manifest.files.length)
    expect(paths).toHaveLength(copied.files)
    let bytes = 0
    for (const path of paths) bytes += (await stat(path)).size
    expect(bytes).toBe(copied.bytes)
  })

  test('holds the names and formats real libraries trouble us with', async () => {
    const names = paths.map(path => path.slice(target.length + 1))
    const some = (check: (name: string) => boolean) => expect(names.some(check)).toBe(true)
    some(name => /\p{Script=Hiragana}|\p{Script=Han}/u.test(name))
    some(name => /\p{Script=Arabic}/u.test(name))
    some(name => /\p{Emoji_Presentation}/u.test(name))
    some(name => name !== name.normalize('NFC') && name === name.normalize('NFD'))
    if (process.platform !== 'win32') some(name => ['+', '#', '%', '?'].every(sign => name.includes(sign)))
    for (const extension of ['mp3', 'flac', 'm4a', 'ogg', 'wav', 'opus', 'aiff']) {
      some(name => name.endsWith(`.${extension}`))
    }
    const digests = await Promise.all(paths.map(async path => sha256(await readFile(path))))
    expect(new Set(digests).size).toBe(digests.length - 1)
    const wrong = paths.find(path => path.endsWith('Wrong Label.mp3'))!
    expect((await readFile(wrong)).toString('latin1', 0, 4)).toBe('fLaC')
  })

  test('its tags say what the manifest says, and two files have none', async () => {
    let untagged = 0
    for (const expected of manifest.files) {
      if (!('title' in expected)) continue
      const { common, format } = await parseFile(new URL(expected.file, assets).pathname, { duration: true })
      expect(format.duration, expected.file).toBeGreaterThan(5)
      expect(format.duration, expected.file).toBeLessThan(16)
      if (expected.tagged) {
        expect(common, expected.file).toMatchObject({ title: expected.title, artist: expected.artist })
      } else {
        untagged++
        expect(common.title, expected.file).toBeUndefined()
        expect(common.artist, expected.file).toBeUndefined()
      }
    }
    expect(untagged).toBe(2)
  })
})

import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openDatabase } from '../../src/db/open.ts'
import { UsageError } from '../../src/errors.ts'
import { pgliteTestDatabase } from '../support/database.ts'
import { databaseContract } from './database.ts'

databaseContract('PGlite', pgliteTestDatabase)

let dir: string
beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'autodj-pglite-'))
})
afterAll(() => rm(dir, { recursive: true }))

test('PGlite makes no database among files of someone else, nor of a file', async () => {
  const music = path.join(dir, 'music')
  await mkdir(music)
  await writeFile(path.join(music, 'song.mp3'), 'a song')
  for (const [folder, words] of [
    [music, 'the folder holds other files'],
    [path.join(music, 'song.mp3'), 'it is a file, not a folder'],
  ] as const) {
    const refused = await openDatabase(`pglite:${folder}`, { applicationName: 'test' }).catch(
      (error: unknown) => error,
    )
    expect(refused).toBeInstanceOf(UsageError)
    expect((refused as Error).message).toContain(words)
  }
  expect(await readdir(dir)).toEqual(['music'])
  expect(await readdir(music)).toEqual(['song.mp3'])
})

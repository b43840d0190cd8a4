import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { acquireLockFile } from '../../src/db/lock-file.ts'
import { openDatabase } from '../../src/db/open.ts'
import { LockedError, UsageError } from '../../src/errors.ts'
import { pgliteTestDatabase } from '../support/database.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { databaseContract } from './database.ts'

databaseContract('PGlite', pgliteTestDatabase)

let dir: string
beforeAll(async () => {
  dir = temporaryFolder('pglite')
})

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

test('the folder of the embedded database is reached by another way while a process has it open', async () => {
  const [folder, link] = [path.join(dir, 'db'), path.join(dir, 'link')]
  await mkdir(folder)
  await symlink(folder, link)
  const open = (name: string) =>
    openDatabase(`pglite:${name}`, { applicationName: 'autodj status' }).catch((error: unknown) => error)
  const first = await openDatabase(`pglite:${link}`, { applicationName: 'autodj upload-local' })
  const byLink = await open(folder)
  expect((await readdir(folder)).filter(name => name.includes('lock'))).toEqual(['autodj.lock'])
  await first.close()
  // In a container the folder has another name, and another folder above it: there is one lock that both see.
  const other = await acquireLockFile(path.join(folder, 'autodj.lock'), 'autodj upload-local')
  const byMount = await open(folder)
  await other.release()
  for (const refused of [byLink, byMount]) {
    expect(refused).toBeInstanceOf(LockedError)
    expect((refused as Error).message).toMatch(/is locked by autodj upload-local/)
    expect((refused as LockedError).cure).toMatch(/PostgreSQL takes any number/)
  }
  const later = await openDatabase(`pglite:${link}`, { applicationName: 'test' })
  await later.close()
  for (const where of [dir, folder])
    expect((await readdir(where)).filter(name => name.includes('lock'))).toEqual([])
}, 60_000)

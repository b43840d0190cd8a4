/** Lists of every form select the same; what selects nothing is said. */
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { cli } from '../support/cli.ts'
import { migrated, pgliteTestDatabase, type TestDatabase } from '../support/database.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

let place: TestDatabase
let folder: string
beforeAll(async () => {
  folder = temporaryFolder('selection')
  place = await migrated(await pgliteTestDatabase())
  const database = await place.open()
  await database.knex.raw(
    `insert into tracks (id, spotify_id, title, artist, file_path, file_source)
     select gen_random_uuid(), 's' || n, 't', 'Artist ' || n % 3, 'Artist ' || n % 3 || '/Sóng ' || n || '.mp3', 'LOCAL'
     from generate_series(1, 12000) n`,
  )
  await database.close()
})
afterAll(() => place.drop())

const select = async (...argv: string[]) => {
  // A folder without any audio looks unmounted.
  await writeFile(path.join(folder, 'here.mp3'), '')
  const { exitCode, stderr, messages } = await cli(['analyze', '--dry-run', '--json', ...argv], {
    cwd: folder,
    env: { DATABASE_URL: place.url, AUDIO_STORAGE_PATH: folder },
  })
  expect(exitCode, stderr).toBe(0)
  return {
    tracks: messages.find(one => one['message_type'] === 'summary')?.['tracks'],
    warnings: messages.filter(one => one['message_type'] === 'error').map(one => one['message']),
  }
}

test('patterns, over more rows than one page', async () => {
  expect(await select('--include', '/Artist 1/**')).toMatchObject({ tracks: 4_000 })
  expect(await select('--include', '*.mp3', '--exclude', 'Artist 1/')).toMatchObject({ tracks: 8_000 })
})

test.each([
  ['CRLF', Buffer.from('Artist 1/Sóng 1.mp3\r\nArtist 2/Sóng 2.mp3\r\n')],
  ['a byte order mark', Buffer.from('\uFEFFArtist 1/Sóng 1.mp3\nArtist 2/Sóng 2.mp3\n')],
  ['NULs', Buffer.from('Artist 1/Sóng 1.mp3\0Artist 2/Sóng 2.mp3\0')],
])('--files-from with %s', async (_name, content) => {
  await writeFile(path.join(folder, 'list'), content)
  expect(await select('--files-from', 'list')).toEqual({ tracks: 2, warnings: [] })
})

test.each([
  [['--artist', 'Nobody'], 'no track matches --artist "Nobody"'],
  [['--include', '*.flac', '--exclude', 'x/'], 'no track matches --include "*.flac", --exclude "x/"'],
])('%j selects nothing, and that is said', async (argv, message) => {
  const { tracks, warnings } = await select(...argv)
  expect(tracks).toBe(0)
  expect(JSON.stringify(warnings)).toContain(message.replaceAll('"', '\\"'))
})
